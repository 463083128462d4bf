"""What is said of the captions of a data set, and of the trigger in them."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, note, warning

_LETTERS = "A text encoder reads it as letters, which are learnt like any other word"
_APP = "m in the app's data set does it"
_WITH = '{files:count caption} with {what}, such as "{example}": {files:list}.'
_TRIGGER_KNOWN = 'The trigger "{word}" {how}: the base knows it already.'
_TRIGGER_FORM = 'The trigger "{trigger}" {fault}.'
_NO_TRIGGER = "No trigger word is set, so no word is known to stand for the {subject}."
_TAGS = "A base understands captions that are written as those that it was trained on."
_CUT = 'Of {first} this is cut off: "{lost}".'

CAPTIONS: Mapping[str, Kind] = {
    "caption_orphan": warning(
        "{files:are caption} without an image: {files:list}.",
        "A caption belongs to the image of the same name; one that is misspelled is silently lost.",
        "Give the caption the name of its image, or remove it.",
        source="FLUX guide",
    ),
    "caption_missing.empty": warning(
        "{files:number} of {images:count image} {files:has} no caption: trained on an empty caption.",
        "A caption tells what in the image is not the subject.",
        "Name the subject with --trigger and --class.",
    ),
    "caption_missing.replaced": note(
        "{files:number} of {images:count image} {files:has} no caption: trained on {instead:list 3}.",
        "A caption tells what in the image is not the subject.",
    ),
    "caption_empty": warning(
        "{files:each file} is an empty caption.", "It counts as missing.", "Write it, or remove the file."
    ),
    "caption_unreadable": warning(
        "{files:each file} cannot be used as a caption: it {reason}.",
        "It counts as missing.",
        "Check what it is (file), and who may read it (ls -l).",
    ),
    "two_captions": warning(
        "{files:each file} has two caption files; the {counts} counts, the {other} does not.",
        "Only one can be meant.",
        "Remove one of them.",
    ),
    "caption_too_long": warning(
        "{files:each file} is longer than {kib} KiB and was cut.",
        "No text encoder reads so much; this is probably no caption.",
        "Shorten it.",
    ),
    "caption_encoding": warning(
        '{files:are caption} not UTF-8; by their bytes probably {encodings}, and read so. {shown}: "{excerpt}".',
        "Read in a wrong encoding, words become letters that no base knows; other trainers stop at such files.",
        "If it reads right, save them as UTF-8 (m in the app's data set, then s). If not, convert them yourself: "
        "iconv -f ENCODING -t UTF-8.",
        fix="utf8",
    ),
    "caption_encoding.marked": note(
        '{files:are caption} not UTF-8, but {encodings} by its mark. {shown}: "{excerpt}".',
        "Other trainers stop at such files.",
        "Save them as UTF-8 for other trainers.",
        fix="utf8",
    ),
    "caption_mojibake.mended": warning(
        '{files:count caption} with signs that a wrong encoding left: "{spoilt}" in {first} was probably "{mended}".',
        "They are trained on as the letters that stand there, which no base knows.",
        "Put them right (m in the app's data set, then s).",
        fix="right_signs",
    ),
    "caption_mojibake.lost": warning(
        "{files:count caption} with signs in place of letters that a wrong encoding lost: {files:list}.",
        "They are trained on as the letters that stand there, which no base knows.",
        "Write these words anew, or take the captions from where they are still right.",
    ),
    "caption_same": note(
        '{files:number} of {captions:count caption} are the same: "{caption}".',
        "What differs between the images cannot be told from the subject then.",
        "Say in each caption what is special in its image.",
        source="Valstrix",
    ),
    "caption_cut": warning(
        "{files:count caption} of more than {window:number} tokens: {files:list}. " + _CUT,
        "The text encoder never sees what is beyond its window.",
        "Shorten them; what matters comes first.",
        source="Valstrix, comments",
    ),
    "caption_cut.estimated": note("{files:count caption} of more than about {window:number} tokens: {files:list}. " + _CUT),
    "caption_lines.whole": warning(
        "{files:count caption} of {lines}, trained as one text: {files:list}.",
        "Some tools take each line for a caption of its own: ai-toolkit and OneTrainer draw one each time, sd-scripts does so "
        "with wildcards and else reads only the first.",
        "If each line is a caption, set {settings}. If it is one text, put it into one line.",
    ),
    "caption_lines.drawn": note(
        "{files:count image} with {lines}, one a line: each is drawn equally often: {files:list}.",
        "Some tools take each line for a caption of its own.",
    ),
    "caption_lines.too_many": warning(
        "{files:count caption} of more than {most:number} lines, of which the rest is not used: {files:list}.",
        remedy="Keep the best lines.",
    ),
    "caption_wildcards": warning(_WITH, f"{_LETTERS}, braces and all.", "Set {settings}, which draws one part each time."),
    "caption_wildcards.unread": warning(
        '{files:count caption} with wildcards of a kind that is not read ("{example}" …): {files:list}.',
        remedy="Write them as {{red|blue}}, with each {{ closed.",
    ),
    "caption_wildcard_files": warning(
        _WITH,
        f"{_LETTERS}; the file with the words belongs to another tool.",
        "Put one of its words there, or several as {{red|blue}}.",
    ),
    "caption_weights": warning(
        _WITH,
        f"{_LETTERS}: weights belong into prompts, and the captions of all images weigh the same.",
        f"Take brackets and numbers out; {_APP}.",
        fix="take_out",
    ),
    "caption_editing": warning(
        _WITH, f"{_LETTERS}: it changes a prompt while an image is made.", "Write what is to be seen in the image."
    ),
    "caption_lora_tags": warning(
        _WITH, f"{_LETTERS}: it loads a file where images are made.", f"Take it out; {_APP}.", fix="take_out"
    ),
    "caption_embeddings": warning(
        _WITH, f"{_LETTERS}: no embedding is loaded in training.", f"Take it out; {_APP}.", fix="take_out"
    ),
    "caption_breaks": warning(
        _WITH, f"{_LETTERS}: it parts a prompt for a program that makes images.", f"Put a comma there; {_APP}.", fix="commas"
    ),
    "caption_placeholders": warning(
        _WITH,
        f"{_LETTERS}: other tools put the trigger or a name there.",
        f"Write the word itself; {_APP} for the trigger and the class.",
        fix="fill_in",
    ),
    "caption_parameters": warning(
        _WITH,
        f"{_LETTERS}: an image generator saves its settings and what should not be seen below its prompt.",
        f"Keep the prompt alone; {_APP}.",
        fix="take_out",
    ),
    "caption_escapes": note(
        _WITH,
        "It is for programs in which brackets weigh words; here it is one sign more, which no prompt has later.",
        f"Take the backslashes out; {_APP}.",
        fix="take_out",
    ),
    "trigger_absent": warning(
        _NO_TRIGGER,
        "The trigger is what calls the subject up later, and names the files.",
        "Give the made-up word of the captions with --trigger.",
        source="FLUX guide",
    ),
    "trigger_absent.guessed": warning(remedy='All captions hold "{guess}": say --trigger {guess} if that is it.'),
    "trigger_missing": warning(
        "{files:number} of {total:count caption} without {triggers}: {files:list}.",
        "Only the trigger calls the subject up later.",
        "Put the trigger first in every caption, spelled the same.",
        source="FLUX guide",
        fix="trigger_first",
    ),
    "trigger_spelling": warning(
        "{triggers} is spelled in other ways ({spellings:list}) in {files:list}.",
        "Another spelling is another word to the model.",
        "Replace it by the trigger in all captions.",
        source="FLUX guide, Valstrix",
        fix="trigger_spelled",
    ),
    "trigger_not_first": warning(
        "{triggers} does not come first in {files:count caption}: {files:list}.",
        "The first words of a caption weigh most.",
        "Put the trigger first in every caption.",
        source="FLUX guide, Valstrix",
        fix="trigger_first",
    ),
    "trigger_not_first.sentence": note(),
    "class_not_second": note(
        "{classes} does not follow {triggers} in {files:count caption}: {files:list}.",
        "The class word tells the model what kind of thing the trigger is.",
        "Put the class word behind the trigger.",
        source="Valstrix",
        fix="class_second",
    ),
    "trigger_form": warning(
        _TRIGGER_FORM,
        "It must be the same in every caption and prompt, where signs weight or separate words, and it names the files.",
        "Take one plain word of letters and digits.",
    ),
    "trigger_form.plain": warning(remedy='Take one plain word, such as "{plain}".'),
    "trigger_known": warning(
        _TRIGGER_KNOWN, "The old meaning mixes with the new one.", "Take a word that means nothing.", source="Valstrix"
    ),
    "trigger_known.better": warning(remedy="Take a word that means nothing, such as {better:or}."),
    "tag_style": note(
        "The captions are tags of the image boards; nothing in the name of {model} says that it knows them.",
        _TAGS,
        "Caption with sentences, or choose a base that knows the tags.",
        source="Valstrix, ZyloO",
    ),
    "tag_style.sentences": note(
        "The captions are sentences; bases with {named:list} in their name, as {model}, mostly know {tags}.",
        remedy="Read on the page of the base what it knows; if it is tags, caption with {tags}.",
    ),
    "many_tags": warning(
        "{files:count caption} of more than {most} tags: {files:list}.",
        "What is learnt spreads thinly over so many tags: 5 to 20 are right.",
        "Keep what matters in the image.",
        source="Valstrix",
    ),
    "few_tags": note(
        "{files:count caption} of fewer than {fewest} tags: {files:list}.",
        "What no tag names becomes part of the trigger: 5 to 20 are right.",
        "Name clothes, place, light and view.",
        source="Valstrix",
    ),
    "score_tags": warning(
        "{files:count caption} with score, source or rating tags: {files:list}.",
        "They belong into prompts, never into captions: they would be bound to the subject.",
        "Remove them from all captions.",
        source="ZyloO",
        fix="without_scores",
    ),
    "implied_tags": note(
        "{files:count caption} with tags that imply each other ({pairs:list 3}): {files:list}.",
        "What is learnt is spread over both, and both get weaker.",
        "Keep the more precise one.",
        source="Valstrix",
    ),
    "repeated_tags": note(
        "{files:count caption} with a tag twice: {files:list}.", "It takes room and adds nothing.", "Remove one of them."
    ),
    "tag_everywhere": note(
        "In nearly all captions: {tags:list}.",
        "What is in every image becomes part of the subject, or of that word.",
        "Add images without it, or leave the tag if it belongs to the subject.",
        source="FLUX guide, Valstrix",
    ),
    "white_background": warning(
        "{files:count image} on plain white, which the caption does not say: {files:list}.",
        "A white background that comes again must be named, or it sticks to the subject.",
        "Add a tag such as white background to these captions.",
        source="Valstrix",
        fix="name_white",
    ),
    "watermark": warning(
        "{files:count image} with a watermark or signature, by their captions: {files:list}.",
        "Watermarks and signatures are learnt soon, since they are always alike. They are only known by captions here.",
        "Crop or paint them out, or leave the images out.",
        source="FLUX guide, Valstrix",
    ),
}
