"""Models of transformers for sound, made on the spot: real structure and file layout, random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def tokenizer(**special: str) -> Any:
    """A byte-level tokenizer that has seen one sentence."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    named = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", **special}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        ["a dog barks in the street while it rains"],
        trainers.BpeTrainer(vocab_size=400, special_tokens=list(named.values()), initial_alphabet=alphabet),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, model_input_names=["input_ids", "attention_mask"], model_max_length=64, **named
    )


def clap(folder: Path) -> Path:
    """A CLAP at 16 kHz that hears two seconds."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    words = tokenizer()
    audio = {
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "projection_hidden_size": 16,
    }
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        "pad_token_id": words.pad_token_id,
    }
    torch.manual_seed(5)
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).save_pretrained(folder)
    words.save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        max_length_s=2,
        truncation="rand_trunc",
        padding="repeatpad",
        frequency_max=8000,
    ).save_pretrained(folder)
    return folder


def classifier(folder: Path, *, several: bool = False) -> Path:
    """A wav2vec 2 with three kinds of sound."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config(
        **_wav2vec(),
        id2label={0: "dog", 1: "rain", 2: "speech"},
        label2id={"dog": 0, "rain": 1, "speech": 2},
        problem_type="multi_label_classification" if several else None,
        classifier_proj_size=16,
    )
    torch.manual_seed(6)
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


def ctc(folder: Path) -> Path:
    """A wav2vec 2 that writes letters."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnop"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    torch.manual_seed(7)
    Wav2Vec2ForCTC(Wav2Vec2Config(**_wav2vec(), vocab_size=len(letters), pad_token_id=0)).save_pretrained(folder)
    return folder


def _wav2vec() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": (16, 16),
        "conv_stride": (10, 8),
        "conv_kernel": (10, 8),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    }


def vits(folder: Path) -> Path:
    """A VITS of two speakers at 16 kHz that reads small letters."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    letters = ["_", *" abcdefghijklmnopqrstuvwxyz'.,-", "<unk>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    VitsTokenizer(
        str(folder / "vocab.json"), pad_token="_", normalize=True, phonemize=False, add_blank=True
    ).save_pretrained(folder)
    config = VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=33,
        upsample_initial_channel=32,
        upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        prior_encoder_num_flows=1,
        posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        num_speakers=2,
        speaker_embedding_size=8,
        sampling_rate=16_000,
    )
    torch.manual_seed(8)
    VitsModel(config).save_pretrained(folder)
    return folder


def speecht5(folder: Path) -> Path:
    """A SpeechT5, its vocoder in ``vocoder/`` and one voice in ``speakers.safetensors``."""
    import torch
    from safetensors.torch import save_file
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig

    words = tokenizer()
    config = SpeechT5Config(
        vocab_size=len(words),
        hidden_size=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        speaker_embedding_dim=16,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        conv_dim=(16,),
        conv_stride=(5,),
        conv_kernel=(10,),
        num_feat_extract_layers=1,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        decoder_start_token_id=words.eos_token_id,
    )
    torch.manual_seed(9)
    SpeechT5ForTextToSpeech(config).save_pretrained(folder)
    words.save_pretrained(folder)
    hifi = SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
    )
    SpeechT5HifiGan(hifi).save_pretrained(folder / "vocoder")
    save_file({"anna": torch.randn(16)}, str(folder / "speakers.safetensors"))
    return folder


POCKET_TEMPLATE = """{%- for message in messages -%}{%- for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}<voice_bos><voice>{%- endif -%}
{%- if part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}{%- endfor -%}<audio_bos>"""


def pocket(folder: Path) -> Path:
    """A Pocket TTS with its codec, both at 24 kHz."""
    import torch
    from transformers import (
        PocketTTSAudioTokenizerConfig,
        PocketTTSAudioTokenizerModel,
        PocketTTSConfig,
        PocketTTSFeatureExtractor,
        PocketTTSForConditionalGeneration,
    )

    names = {
        "audio_prompt_token": "<voice>",
        "audio_latent_token": "<latent>",
        "audio_prompt_bos_token": "<voice_bos>",
        "audio_bos_token": "<audio_bos>",
    }
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": list(names.values())})
    words.save_pretrained(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["extra_special_tokens"] = names
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "chat_template.jinja").write_text(POCKET_TEMPLATE)
    ids = {f"{name}_id": words.convert_tokens_to_ids(token) for name, token in names.items()}
    flow = {"hidden_size": 16, "num_hidden_layers": 1, "latent_dim": 8, "condition_dim": 32}
    torch.manual_seed(10)
    model = PocketTTSForConditionalGeneration(
        PocketTTSConfig(
            flow_head_config={**flow, "frequency_embedding_size": 16},
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            latent_dim=8,
            pad_token_id=words.pad_token_id,
            **ids,
        )
    )
    model.generation_config.max_new_tokens = 3
    model.save_pretrained(folder)
    PocketTTSFeatureExtractor().save_pretrained(folder)
    codec = PocketTTSAudioTokenizerConfig(
        hidden_size=16,
        num_filters=4,
        upsample_groups=16,
        num_hidden_layers=1,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        latent_dim=8,
    )
    PocketTTSAudioTokenizerModel(codec).save_pretrained(folder / "audio_tokenizer")
    return folder
