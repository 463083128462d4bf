"""What is said of the images of a data set."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, error, note, warning

_LOOK = "Look at it, and leave it out if it is not good."
_SMALLEST = "The smallest, {smallest}, is {fate} and has {percent} of the pixels."
_SMALL = "Replace what is too small with something larger, or leave it out."

IMAGES: Mapping[str, Kind] = {
    "no_pictures": error(
        "There is no image to train on in this folder.",
        "Without images there is nothing to learn from.",
        "Put JPEG, PNG or WebP images of the subject into it, or give the folder that holds them.",
    ),
    "left_out": warning("{files:each file} {reason}.", "It is not trained on.", "Replace or remove it."),
    "zip_left_out": warning(
        "In the zip, {files:each file} {reason}.",
        "It is not unpacked.",
        "Pack the images themselves, as a usual zip, without links or passwords.",
    ),
    "ignored": note("{files:are other file} ignored ({reasons})."),
    "zip_ignored": note("{files:are other file} not unpacked: {files:list}."),
    "same_stem": note("{files:list} share a caption, since only their endings differ."),
    "not_decoded": note("{unchecked:number} of {images:count image} were checked by their header only."),
    "not_measured": warning(
        "{files:are image} not measured, since the worker does not start: {failure}.",
        "Nothing is known of their pixels.",
        "Mend the installation (loratui doctor).",
    ),
    "unnumbered": note(
        "{files:list} have no numbers, and each is taken for a concept of its own.",
        "Each concept is shown for the same time if the recipe balances them.",
        "Name the folders N_token class to set repeats and words; for one subject, put its images into one folder.",
        source="Valstrix",
    ),
    "copies": warning(
        "{files:list} are the same file.",
        "An image that is there twice is learnt twice as hard, and its details stick.",
        "Leave out all but one.",
        source="FLUX guide",
        fix="keep_best",
    ),
    "too_few_images": warning(
        "{images:are image} less than the {least} to {most} that this recipe works with{band}.",
        "Few images make a stiff LoRA that repeats them.",
        "Add good, varied images, or expect a stiffer LoRA.",
        source="FLUX guide, Skullkid",
    ),
    "too_many_images": warning(
        "{images:are image} more than the {least} to {most} that this recipe works with{band}.",
        "Quality counts more than number; weak images dilute the good ones.",
        "Keep the best.",
        source="FLUX guide, Skullkid, ZyloO",
    ),
    "rotated": note(
        "{files:are image} turned by a note in EXIF: {files:list}.",
        "Trainers that ignore the note train them sideways. Here they are turned upright as they are read.",
        fix="rotate",
    ),
    "transparent": warning(
        "{files:are image} partly transparent, and trained on white: {files:list}.",
        "The model learns the colour that stands behind it, and hidden colours may come through.",
        "Flatten it on a chosen or varied plain colour, and name that background in the caption.",
        source="Valstrix",
        fix="flatten",
    ),
    "transparent.possible": note("{files:count image} can hold transparent parts: {files:list}."),
    "wide_bits": note(
        "{files:are image} of 16 bits or more a channel: {files:list}.",
        "They are scaled to 8 bits as they are read; others clip them to white.",
        fix="convert",
    ),
    "stored_colours": note(
        "{files:are image} stored with a palette, in print colours or in black and white: {files:list}.",
        "They are turned to RGB as they are read.",
        fix="convert",
    ),
    "profile": note(
        "{files:count image} with a colour profile other than sRGB ({profiles:list 3}): {files:list}.",
        "Their colours are turned to sRGB as they are read.",
        fix="convert",
    ),
    "animated": note(
        "{files:are image} animated; only the first frame is trained on: {files:list}.",
        "A model of still images sees one frame.",
        fix="convert",
    ),
    "compressed": warning(
        "{files:are image} compressed so much that blocks show: {files:list}.",
        "The model learns the blocks and halos of compression as part of the subject.",
        "Find a better copy, or leave it out.",
        source="FLUX guide, Valstrix",
        fix="leave_out",
    ),
    "place": note(
        "{files:count image} with the place where it was taken in EXIF: {files:list}.",
        "Nothing of EXIF goes into the LoRA, its samples or a prepared copy; the originals still hold it.",
        "Remove it before you give the images to anyone.",
    ),
    "tiny": warning(
        "{files:are image} less than {least_px} px along a side: {files:list}. " + _SMALLEST,
        "So little holds no face.",
        "Enlarge with a good upscaler, outside of loratui, or leave out.",
        source="Skullkid",
        fix="leave_out",
    ),
    "enlarged": warning(
        "{files:are image} smaller than the training size and enlarged: {files:list}. " + _SMALLEST,
        "Enlarged images teach blur.",
        _SMALL,
    ),
    "small": warning(
        "{files:number} of {images:count image} {files:has} at most half the pixels of {resolution}×{resolution}. " + _SMALLEST,
        "Detail that is not there cannot be learnt, and a LoRA draws what it saw: coarser, and best at that size.",
        _SMALL,
        source="Skullkid, Valstrix",
    ),
    "small.most": warning(remedy="Train at {settings}, or find larger originals."),
    "huge": note(
        "{files:are image} more than {largest_px} px along a side: {files:list}.",
        "Nothing is gained above the training size; they only take time and memory to read.",
        "Shrink to {largest_px} px in a prepared copy.",
        source="Skullkid",
        fix="shrink",
    ),
    "long_shape": warning(
        "{files:are image} more than twice as long as wide, or the other way round: {files:list}.",
        "Few images share such a shape, and the subject gets small in it.",
        "Crop around the subject.",
        source="FLUX guide, Valstrix",
        fix="crop",
    ),
    "cut_square": warning(
        "{files:count image} will lose more than a quarter to a square crop: {files:list}.",
        "A head or a hand may be cut off.",
        "Turn buckets on (dataset.buckets=true), or crop by hand.",
        source="FLUX guide",
    ),
    "bars": warning(
        "{files:count image} with bars of one colour at two sides: {files:list}.",
        "The model learns the bars as part of the image.",
        "Crop it off.",
        source="Valstrix",
        fix="crop",
    ),
    "empty_border": note(
        "{files:count image} with much empty border: {files:list}.",
        "Empty space takes pixels from the subject.",
        "Crop around the subject.",
        source="FLUX guide",
        fix="crop",
    ),
    **{
        code: warning(f"{{files:count image}} {what}: {{files:list}}.", why, _LOOK, source=source, fix="leave_out")
        for code, what, why, source in (
            ("blurred", "without a sharp part", "Blur is learnt like anything else.", "FLUX guide, Valstrix"),
            ("noisy", "with much noise, or treated against training", "Noise and patterns are learnt.", "FLUX guide, Valstrix"),
            ("dark", "nearly black", "What cannot be seen cannot be learnt.", "FLUX guide"),
            ("bright", "washed out", "What cannot be seen cannot be learnt.", "FLUX guide"),
            ("flat", "with hardly any contrast", "An image without contrast holds no subject.", ""),
        )
    },
    "near_duplicates": warning(
        "{files:list} are nearly the same image.",
        "What is shown more often is learnt harder: its pose, clothes and background stick.",
        "Keep the best of them.",
        source="FLUX guide, Skullkid",
        fix="keep_best",
    ),
    "mirrored_copies": warning(
        "{files:list} are the same image, one of them mirrored.",
        "Left and right get mixed: partings, moles and tattoos change sides.",
        "Leave one out, or mirror it back if it shows the subject the wrong way round.",
        source="Skullkid, Valstrix",
        fix="keep_best",
    ),
    "same_background": warning(
        "{files:number} of {images:count image} have the same background, or nearly so.",
        "What is the same in all images is learnt as part of the subject.",
        "Add images from other places, and name the background in the captions.",
        source="FLUX guide, Skullkid",
    ),
    "same_light": note(
        "{alike:number} of {images:count image} have the same brightness and tint.",
        "Light that never changes is learnt as part of the subject. Clothes and poses are not measured; look at them.",
        "Add images in other light, or name the light in the captions.",
        source="FLUX guide",
    ),
    "several_faces": warning(
        "{files:count image} with more than one face: {files:list}.",
        "The likenesses of several people mix.",
        "Crop to one person, or say in the caption who is who.",
        source="FLUX guide",
    ),
    "no_face": note(
        "{files:count image} without a face that was found: {files:list}.",
        "A likeness needs a face.",
        "Look at it, and leave it out if need be.",
        source="FLUX guide",
    ),
    "small_face": note(
        "{files:count image} with a very small face: {files:list}.",
        "So few pixels hold no likeness.",
        "Crop closer to the face.",
        source="FLUX guide",
    ),
    "several_people": note(
        "{files:count image} with several people, by their captions: {files:list}.",
        "The likenesses of several people mix.",
        "Crop to one person, or make sure that the caption says who is who.",
        source="FLUX guide",
    ),
    "selfies": note(
        "{files:count image} by a front camera among others, perhaps mirrored: {files:list}.",
        "Some phones store selfies mirrored; with others beside them, left and right get mixed.",
        "Compare a parting or a mole, and mirror those that are the wrong way round.",
        source="Skullkid",
    ),
    "flip_identity": warning(
        "Images are also trained mirrored, although the set teaches a {subject}.",
        "No face is symmetric: a flipped one is another, and left and right get mixed.",
        "Turn it off: {settings}.",
        source="Skullkid, Valstrix",
    ),
}
