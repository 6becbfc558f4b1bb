"""Tiny random models that look at pictures or draw them: real configurations and weights, made in a moment.

Each function writes a folder as its library's own ``save_pretrained`` does, and returns it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_WORDS = "a photo of the cat and dog on what is this USER ASSISTANT describe picture one sentence answer shortly "


def words(*, extra: list[str] | dict[str, str] | None = None, **more: Any) -> Any:
    """A byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([_WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=extra or [],
        **more,
    )


def _llama(size: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "max_position_embeddings": 4096,
        **more,
    }


_EYE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def clip(folder: Path, *, siglip: bool = False) -> Path:
    """CLIP, or SigLIP."""
    import transformers as t

    tokens = words(model_max_length=32)
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": len(tokens), "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 2,
        "pad_token_id": 1,
    }  # fmt: skip
    size = {"height": 32, "width": 32}
    if siglip:
        model: Any = t.SiglipModel(t.SiglipConfig(text_config={**text, "projection_size": 32}, vision_config=_EYE))
        images: Any = t.SiglipImageProcessorPil(size=size)
    else:
        model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=_EYE, projection_dim=24))
        images = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    for part in (model, images, tokens):
        part.save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    """A classifier of three classes."""
    import transformers as t

    config = t.ViTConfig(**_EYE, id2label={0: "cat", 1: "dog", 2: "bird"}, label2id={"cat": 0, "dog": 1, "bird": 2})
    t.ViTForImageClassification(config).save_pretrained(folder)
    t.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def yolos(folder: Path) -> Path:
    """A detector."""
    import transformers as t

    eye = {**_EYE, "image_size": [32, 32]}
    config = t.YolosConfig(
        **eye, num_detection_tokens=5, id2label={0: "cup", 1: "book"}, label2id={"cup": 0, "book": 1}
    )
    t.YolosForObjectDetection(config).save_pretrained(folder)
    t.YolosImageProcessorPil(size={"height": 32, "width": 32}, do_pad=False).save_pretrained(folder)
    return folder


FLORENCE_PARSING = {
    "pure_text": {},
    "ocr": {
        "PATTERN": r"(.+?)<loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)>",
        "AREA_THRESHOLD": 0.0,
    },
    "phrase_grounding": {"banned_grounding_tokens": ["it"]},
    "description_with_bboxes": {},
    "description_with_polygons": {},
    "polygons": {},
    "bboxes": {},
    "description_with_bboxes_or_polygons": {},
}


def florence(folder: Path) -> Path:
    """Florence-2."""
    import transformers as t

    places = [f"<loc_{n}>" for n in range(1000)]
    tokens = words(extra={"image_token": "<image>"})
    tokens.add_tokens([*places, "<poly>", "</poly>", "<sep>"], special_tokens=True)
    text = {
        "model_type": "bart", "d_model": 32, "vocab_size": len(tokens), "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        "max_position_embeddings": 1024, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_eos_token_id": 2, "forced_bos_token_id": 0,
    }  # fmt: skip
    eye = {
        "embed_dim": [8, 16], "depths": [1, 1], "num_heads": [2, 2], "num_groups": [2, 2], "patch_size": [7, 3],
        "patch_stride": [4, 2], "patch_padding": [3, 1], "patch_prenorm": [False, True], "window_size": 4,
        "projection_dim": 32, "drop_path_rate": 0.0,
    }  # fmt: skip
    config = t.Florence2Config(
        text_config=text, vision_config=eye, image_token_id=tokens.convert_tokens_to_ids("<image>")
    )
    model = t.Florence2ForConditionalGeneration(config)
    images = t.CLIPImageProcessorPil(
        size={"height": 64, "width": 64}, do_center_crop=False, crop_size={"height": 64, "width": 64}
    )
    images.image_seq_length = 65
    model.save_pretrained(folder)
    t.Florence2Processor(images, tokens, post_processor_config=FLORENCE_PARSING).save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """LLaVA: CLIP's eye and a small Llama."""
    import transformers as t

    tokens = words(extra={"image_token": "<image>"})
    eye = {**_EYE, "model_type": "clip_vision_model"}
    config = t.LlavaConfig(
        vision_config=eye,
        text_config=_llama(len(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-1,
    )
    t.LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    t.LlavaProcessor(
        images, tokens, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    ).save_pretrained(folder)
    return folder


def qwen(folder: Path) -> Path:
    """Qwen2.5-VL."""
    import transformers as t

    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokens = words(extra=special)
    tokens.chat_template = (
        "{% for m in messages %}<s>{{ m.role }}: {% for part in m.content %}{% if part.type == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}</s>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    image, video, start, end = tokens.convert_tokens_to_ids(special)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    config = t.Qwen2_5_VLConfig(
        text_config={**_llama(len(tokens)), "model_type": "qwen2_5_vl_text", "rope_parameters": rope},
        vision_config={
            "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            "window_size": 56, "fullatt_block_indexes": [0], "patch_size": 14,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )  # fmt: skip
    t.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    t.Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def smolvlm(folder: Path) -> Path:
    """SmolVLM."""
    import json

    import transformers as t

    special = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"]
    tokens = words(extra=special)
    tokens.chat_template = (
        "{% for m in messages %}<s>{{ m.role }}:{% for part in m.content %}{% if part.type == 'image' %}<image>"
        "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    )
    config = t.SmolVLMConfig(
        text_config=_llama(len(tokens)),
        vision_config={**_EYE, "model_type": "smolvlm_vision"},
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=1,
    )
    t.SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    t.SmolVLMImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    ).save_pretrained(folder)
    tokens.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": 4}))
    return folder


def janus(folder: Path) -> Path:
    """Janus: looks and draws."""
    import transformers as t

    tokens = words(
        extra={
            "image_token": "<image_placeholder>",
            "boi_token": "<begin_of_image>",
            "eoi_token": "<end_of_image>",
        }
    )
    eye = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 4,
        "num_image_tokens": 16, "projection_dim": 32, "mlp_ratio": 2.0, "depth": 2,
    }  # fmt: skip
    vq = {
        "base_channels": 32, "channel_multiplier": [1, 1, 1], "num_res_blocks": 1, "embed_dim": 8, "num_embeddings": 64,
        "image_token_embed_dim": 32, "projection_dim": 32, "num_hidden_layers": 2, "num_patches": 4,
    }  # fmt: skip
    config = t.JanusConfig(
        text_config=_llama(len(tokens)),
        vision_config=eye,
        vq_config=vq,
        image_token_id=tokens.convert_tokens_to_ids("<image_placeholder>"),
    )
    t.JanusForConditionalGeneration(config).save_pretrained(folder)
    images = t.JanusImageProcessorPil(size={"height": 16, "width": 16}, min_size=14)
    t.JanusProcessor(images, tokens, num_image_tokens=16).save_pretrained(folder)
    return folder


def stable_diffusion(folder: Path) -> Path:
    """A pipeline of diffusers that draws."""
    import diffusers as d
    import transformers as t

    tokens = _clip_words(folder)
    unet = d.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8), layers_per_block=1, cross_attention_dim=16, norm_num_groups=4,
        attention_head_dim=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = d.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4,
    )  # fmt: skip
    encoder = t.CLIPTextModel(
        t.CLIPTextConfig(
            vocab_size=len(tokens), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    d.StableDiffusionPipeline(
        vae,
        encoder,
        tokens,
        unet,
        d.DDIMScheduler(steps_offset=1, clip_sample=False),
        None,
        None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def _clip_words(folder: Path) -> Any:
    """CLIP's own kind of tokenizer: pipelines insist on it."""
    import json

    import transformers as t

    letters = [chr(n) for n in range(33, 127)]
    listed = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: n for n, word in enumerate(listed)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return t.CLIPTokenizer(vocabulary, [], model_max_length=77)


def ltx(folder: Path) -> Path:
    """A pipeline of diffusers that makes videos."""
    import diffusers as d
    import transformers as t

    tokens = words(model_max_length=128)
    encoder = t.T5EncoderModel(
        t.T5Config(vocab_size=len(tokens), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=1)
    )
    transformer = d.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        num_layers=1, caption_channels=16,
    )  # fmt: skip
    vae = d.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
    )  # fmt: skip
    d.LTXPipeline(d.FlowMatchEulerDiscreteScheduler(), vae, encoder, tokens, transformer).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """DINOv2: pictures as vectors, patch by patch."""
    import transformers as t

    config = t.Dinov2Config(
        image_size=28, patch_size=14, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2
    )
    t.Dinov2Model(config).save_pretrained(folder)
    t.BitImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
    return folder
