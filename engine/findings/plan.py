"""What is said of a plan and of the settings that it was made with."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, error, warning

_HIGH = "The effective learning rate is high ({written} = {effective:rate}; usual with {title} is up to {high:rate})"
_IDLE = "{idle} no effect: "

_SHOWS = "it shows each image {of_preset:times} in {epochs:count epoch}"
_OTHER_AMOUNTS: Mapping[str, str] = {
    "": "Train {epochs:count epoch} ({settings}).",
    ".saved": "Train {epochs:count epoch} ({settings}), or use an earlier saved one.",
    ".unknown_preset": "Choose schedule.repeats and schedule.epochs that make {low:number} to {high:number} together.",
    ".preset": f"Leave {{keys:and}} to the preset: {_SHOWS}.",
    ".preset_alone": f"Leave the amount to the preset: {_SHOWS}.",
    ".folders": f"Add --repeats rule, and leave {{keys:and}} to the preset: {_SHOWS}.",
    ".folders_alone": f"Add --repeats rule: {_SHOWS}.",
    ".own_limits": "Look at schedule.exposures_wanted again: the preset is far from it.",
    ".more_images": "Add images: this recipe is made for {fewest} to {largest}.",
    ".fewer_images": "Choose the best images: this recipe is made for {fewest} to {largest}.",
}
"""What to do about an amount that is not right."""

JUDGED: Mapping[str, Kind] = {
    "rank_high": warning(
        "Rank {rank} is above the {least} to {most} that suit this recipe: a larger file that learns the photos by heart.",
        remedy="Set {settings} or less.",
    ),
    "rank_low": warning(
        "Rank {rank} is below the {least} to {most} that suit this recipe: too stiff for fine features.",
        remedy="Set {settings} or more.",
    ),
    "rank_for_images": warning(
        "Rank {rank} for {images:count image}: so much room is filled by learning them by heart.",
        remedy="Add images.",
        source="FLUX guide",
    ),
    "rank_for_images.lower": warning(remedy="Add images, or set {settings}."),
    "batch_with_concepts": warning(
        "Batch {batch} with {concepts:count concept}: images of two concepts in one batch blend.",
        remedy="Set {settings}.",
        source="Valstrix",
    ),
    "batch_large": warning(
        "Batch {batch}: above 4 the LoRA gets general instead of exact.", remedy="Set {settings} or less.", source="Valstrix"
    ),
    "folder_repeats": warning(
        "The folder of {concept} sets {repeats:count repeat}; the preset's rule would give {by_rule}.",
        remedy="For the rule's number, add --repeats rule.",
        source="Valstrix",
    ),
    "concepts_unbalanced": warning(
        "{longest} is shown {most:times} an epoch, {shortest} {least:times}: the larger one drowns the other. "
        "Balanced repeats are {balanced}.",
        remedy="Set {settings}, with --repeats rule if the folders have numbers.",
        source="Valstrix",
    ),
    "concept_overtrains": warning(
        "{concept} has {images:count image} against {largest_images} of {largest}; each is shown {share:.1f} times as often, and may "
        "overtrain by itself.",
        remedy="Add images of {concept}.",
        source="Valstrix",
    ),
    "resolution_high": warning(
        "{resolution} px is more than the base makes natively ({native} px): slower, and worse.",
        remedy="Set {settings} or less.",
        source="Valstrix",
    ),
    "resolution_low": warning(
        "{resolution} px is less than the base makes natively ({native} px): details are lost.",
        remedy="Set {settings} or more.",
        source="Valstrix",
    ),
    "bucket_max_low": warning(
        "No side may exceed {bucket_max} px, so every shape but the square loses pixels.", remedy="Set {settings}."
    ),
    "regularisation_weightless": warning(
        "{images} regularisation images with the weight 0 cost {steps:count optimizer step} and teach nothing.",
        remedy="Set {settings}, or leave the reg folder out.",
    ),
    "regularisation_doubles": warning(
        "{images} regularisation images double the work of every epoch ({steps:number} of the {of:count optimizer step} are theirs); "
        "sets with good captions do without.",
        remedy="Leave the reg folder out, unless style or class drift.",
        source="Skullkid",
    ),
    "regularisation_unused": warning(
        "{unused} of the {images} regularisation images are never shown: there are more than the subject's image-steps.",
        remedy="Remove them, or train more repeats.",
    ),
    **{
        f"{code}{kind}": warning(message, remedy=remedy)
        for code, message in (
            (
                "too_many_exposures",
                "Each image is shown {shown:times}; beyond {most:number} this recipe tends to learn the photos by heart.",
            ),
            (
                "too_few_exposures",
                "Each image is shown {shown:times}; below {least:number} the likeness may stay weak.",
            ),
        )
        for kind, remedy in _OTHER_AMOUNTS.items()
    },
    "too_many_image_steps": warning(
        "{steps:count image-step}: beyond about {most:number} the result was seen to get worse.",
        remedy="Compare the saved epochs, and use the one before it gets worse; or train fewer.",
    ),
    "capped": warning(
        "{images:count image} × {exposures:number} would be {asked:count image-step}; they stay under {below:number}, so that each image "
        "is shown {shown:times}.",
        remedy="Choose the best images, or another preset for so many.",
    ),
    "rate_high": warning(_HIGH + ": colours burn, anatomy breaks.", remedy="Set {settings}{follows}."),
    "rate_high.adaptive": warning(
        _HIGH + "; {title} finds no rate itself, as Prodigy does at 1: colours burn, anatomy breaks."
    ),
    "rate_low": warning(
        "The effective learning rate is low ({written} = {effective:rate}; usual with {title} is {low:rate} and more): little will be "
        "learnt.",
        remedy="Set {settings}{follows}.",
    ),
    "adaptive_rate": warning(
        "{title} finds the learning rate itself; {rate:rate} scales what it finds.",
        remedy="Set {settings}.",
        source="Valstrix",
    ),
    "adaptive_alpha": warning(
        "With {title}, alpha {alpha:g} only distorts the rate that it finds.", remedy="Set {settings}.", source="Valstrix"
    ),
    "adaptive_scheduler": warning(
        "{title} is used with cosine only; {scheduler} upsets the rate that it finds.",
        remedy="Set {settings}.",
        source="Valstrix",
    ),
    "adaptive_coefficient": warning(
        "optimizer.d_coef {d_coef:g} multiplies the rate that Prodigy finds; 0.5 to 2 are usual.", remedy="Set {settings}."
    ),
    "conv_rate_high": warning(
        "The convolutions learn with alpha {alpha:g} / rank {rank} × the learning rate = {effective:rate}: they burn first.",
        remedy="Set {settings}.",
        source="Valstrix",
    ),
    "text_rate_high": warning(
        "The text encoder learns faster ({text_rate:rate}) than the rest ({rate:rate}); it overtrains first.",
        remedy="Set {settings}.",
        source="Skullkid",
    ),
    "text_rate_high.unusual": warning(
        "The text encoder learns at {effective:rate}, where up to {high:rate} is usual; it overtrains first."
    ),
    "text_rate_low": warning(
        "The text encoder's effective learning rate is {effective:rate}: it is trained, and learns next to nothing.",
        remedy="Set {settings}, or training.train_text_encoder=false.",
    ),
    "lycoris_alpha": warning(
        "{kind} with alpha / rank {scale:.3g}: some programs apply it twice when they merge such a file, so that the LoRA has "
        "{scale:.3g} times its effect there.",
        remedy="Set {settings}: alpha is the rank then.",
    ),
}
"""Numbers of a plan."""

COMBINED: Mapping[str, Kind] = {
    **{
        f"no_effect.{row}": warning(f"{_IDLE}{why}.", remedy="Set {settings}, or leave it out.")
        for row, why in (
            ("d_coef", "it scales the rate that Prodigy finds, and the optimizer is another"),
            ("cycles", "only optimizer.scheduler cosine_with_restarts has cycles"),
            ("text_rate", "the text encoder is not trained"),
            ("huber", "it belongs to the Huber loss, and training.loss is another"),
            ("multires", "the first layer is as fine as the noise itself; only from 2 layers on is one coarser"),
            ("multires_discount", "there are no coarser layers of noise for it to weaken"),
            ("alpha_ratio", "adapter.alpha is set, and follows no rank"),
            ("lokr", "it belongs to lokr, and adapter.kind is another"),
            ("caption_variants", "several texts are made of a caption only where its tags are shuffled or wildcards are drawn"),
            ("bucket_limits", "it bounds the buckets that images are enlarged to, and none is enlarged"),
            ("upscale", "without buckets every image is scaled to the one square in any case"),
            ("exposures", "schedule.rule, repeats and epochs decide how often an image is shown"),
            ("halve_balanced", "it belongs to the rule balanced_concepts"),
        )
    },
    **{
        f"no_effect.{row}": warning(f"{_IDLE}{why}.", remedy="Leave it out.")
        for row, why in (
            ("betas", "Adafactor keeps no moments of that kind"),
            ("scale_v_loss", "it is for bases that predict v, and base.prediction is epsilon"),
            ("clip_skip", "{title} is always given the last text layer but one, which is clip skip 2; 1 means the same"),
            ("text_encoder_2", "{title} has one text encoder"),
            ("image_steps_per_epoch", "schedule.rule, repeats and epochs make the amount without it"),
            ("optimizer_steps_wanted", "schedule.rule or schedule.epochs makes the epochs without it"),
            ("small_sets", "schedule.rule or schedule.epochs makes the total without it"),
        )
    },
    "no_effect.keep_tokens": warning(
        _IDLE + "it holds tags in place while captions are shuffled, which they are not.",
        remedy="Set {settings}, or leave it out.",
        source="Valstrix",
    ),
    "no_effect.prior_weight": warning(
        _IDLE + "there are no regularisation images.", remedy="Add a reg folder, set dataset.class_images, or leave it out."
    ),
    "no_effect.class_prompt": warning(
        _IDLE + "no images of the class are made.", remedy="Set dataset.class_images, or leave it out."
    ),
    "no_effect.convolutions": warning(
        _IDLE + "adapter.targets has no convolutions.",
        remedy="Choose targets that end in +conv, such as sd-scripts+conv, or leave it out.",
    ),
    "no_effect.locon": warning(
        _IDLE + "LoCon is LoRA on convolutions too, and adapter.targets has none: a plain LoRA is trained.",
        remedy="Set {settings}, or choose targets that end in +conv.",
    ),
    "no_effect.v_loss_of_base": warning(
        "training.scale_v_loss true has no effect: it is for bases that predict v, and {base} predicts noise.",
        remedy="Set {settings}.",
    ),
    "two_averages": warning(
        "training.ema_decay {training.ema_decay} takes the place of the average that {optimizer.name} keeps itself, and which is the "
        "whole point of it: samples and files are made from the other one.",
        remedy="Set {settings}.",
    ),
    "schedule_for_schedule_free": warning(
        "{optimizer.name} averages over all steps instead of lowering the rate; under {optimizer.scheduler} the rate falls as well, "
        "and the later steps hardly count.",
        remedy="Set {settings}; optimizer.warmup works with it.",
    ),
    "two_noises": warning(
        "training.noise_offset and training.multires_noise_iterations both add coarse noise: together they shift light and dark twice.",
        remedy="Set one of them to 0.",
    ),
    "two_loss_weights": warning(
        "training.min_snr_gamma and training.debiased_estimation are two answers to one question; their weights are multiplied, "
        "which neither was made for.",
        remedy="Set {settings}, or training.min_snr_gamma=0.",
    ),
    "captions_dropped": warning(
        "dataset.caption_dropout {dataset.caption_dropout}: most steps see no caption, so that the trigger word is hardly tied to the "
        "images.",
        remedy="Set {settings} or less.",
    ),
    "clip_skip_unusual": warning(
        "base.clip_skip {base.clip_skip}: the text is taken from an earlier layer than the last but one, with which {title} and its like "
        "were made. The LoRA is right only where images are made with the same setting, and many programs ignore it there.",
        remedy="Set {settings}, or leave it out.",
    ),
}
"""Settings that do nothing beside certain others, and settings that get into each other's way. `idle` names the former with their verb."""

_MISFIT = "{key} {value} has no effect on {title}: "
_USUAL = "Leave it out, or set it to {default}."
_SNR = "it weighs by the signal-to-noise ratio of a diffusion schedule, and {title} learns a flow, which has none."
_FLOW = "it belongs to flow matching, and this family has a diffusion schedule"
_START = "adapter.start_from {path}: "

REFUSED: Mapping[str, Kind] = {
    "adapter_settings.convolutions": error("adapter.targets {targets}: {title} has no convolutions.", remedy="Set {settings}."),
    "adapter_settings.dropout": error(
        "adapter.dropout: {kind} has no inputs of its own that could be dropped.",
        remedy="Set {settings}; adapter.rank_dropout and adapter.module_dropout work with it.",
    ),
    "adapter_settings.dora": error("adapter.dora goes with lora and locon, not with {kind}.", remedy="Set {settings}."),
    "adapter_settings.dora_dropout": error(
        "adapter.dora: the magnitudes belong to the whole of a layer, of which nothing can be left out.",
        remedy="Set {settings}; adapter.dropout works with it.",
    ),
    "adapter_settings.dora_kohya": error("output.format kohya: DoRA files are for diffusers only.", remedy="Set {settings}."),
    "adapter_settings.lycoris_peft": error(
        "output.format peft: {kind} files have LyCORIS' names, which kohya's format holds.", remedy="Set {settings}."
    ),
    "start_from.relative": error(
        _START + "the trainer works in another folder.", remedy="Give the whole path, such as {absolute}."
    ),
    "start_from.unreadable": error("adapter.start_from: {error}", remedy="Give the path of a .safetensors LoRA."),
    "start_from.no_lora": error(_START + "this is no LoRA of a kind that is known here.", remedy="Choose another file."),
    "start_from.other_family": error(_START + "this is a LoRA for {made_for}.", remedy="Choose one for {title}."),
    "start_from.other_kind": error(_START + "this is a {form}, and a {own} is trained here.", remedy="Choose another file."),
    "start_from.settable": error(
        _START + "this is a {form}, and a {own} is trained here.", remedy="Set {settings}, or choose another file."
    ),
    "start_from.other_layers": error(
        _START + "none of its {layers:count layer} is trained here; it may be for another base.",
        remedy="Choose a LoRA for {title}, or another adapter.targets.",
    ),
    "dora_files": warning(
        "DoRA files work in diffusers only: other programs read the magnitudes in another way or not at all, so that the image is not "
        "the trained one.",
        remedy="Set {settings} for a file that opens everywhere.",
    ),
    "setting_misfit.prediction": error(_MISFIT + "{title} always predicts the flow.", remedy=_USUAL),
    "setting_misfit.schedule": error(_MISFIT + "{title} has no diffusion schedule.", remedy=_USUAL),
    "setting_misfit.clip_skip": error(_MISFIT + "{title} always reads its text encoders at the same layer.", remedy=_USUAL),
    "setting_misfit.caption_tokens": error(
        _MISFIT + "{title} reads up to {tokens} tokens of a caption in any case.", remedy=_USUAL
    ),
    "setting_misfit.snr": error(_MISFIT + _SNR, remedy=_USUAL),
    "setting_misfit.offset": error(
        _MISFIT + "it mends a weakness of the diffusion schedule, which {title} does not have.", remedy=_USUAL
    ),
    "setting_misfit.flow": error(_MISFIT + _FLOW + ".", remedy=_USUAL),
    "setting_misfit.flow_sampling": error(_MISFIT + _FLOW + "; training.high_noise_bias works with it.", remedy=_USUAL),
    "setting_misfit.flow_weighting": error(_MISFIT + _FLOW + "; training.min_snr_gamma works with it.", remedy=_USUAL),
    "setting_misfit.guidance": error(
        _MISFIT + "{title} is not told the guidance; samples have samples.guidance.", remedy=_USUAL
    ),
    "setting_misfit.shift": error("{key} {value} is used by training.timestep_sampling shift alone.", remedy=_USUAL),
    "setting_misfit.scale": error("{key} {value} has no effect on training.timestep_sampling uniform.", remedy=_USUAL),
    "setting_misfit.zero_snr": error(
        "base.zero_terminal_snr on: noise cannot be predicted from pure noise.",
        remedy="Set base.prediction to v, if it is a v-prediction model; else leave both out.",
    ),
    "setting_misfit.size": error(
        "{key} {value}: sides of images must be multiples of {step} px for {title}.", remedy="Set {settings}."
    ),
    "setting_misfit.fp16": error(
        "training.precision fp16: the activations of {title} go beyond its range (65 504).",
        remedy="Set {settings}, which is bf16 where the card has it.",
    ),
    "setting_misfit.one_rate": error(
        "optimizer.text_encoder_learning_rate {text_rate:g}: {optimizer} finds one rate for all parts, and the text encoder is given "
        "another than the rest ({rate:g}).",
        remedy="Set {settings}, which is the same rate, or set optimizer.name to adamw.",
    ),
}
"""Settings that mean nothing to the family, or cannot be trained at all."""

SAMPLES: Mapping[str, Kind] = {
    "guidance_high": warning(
        "samples.guidance {guidance:g}: {title} makes its best images near 3.5, and spoiled ones far above 5.",
        remedy="Set {settings}.",
    ),
}
