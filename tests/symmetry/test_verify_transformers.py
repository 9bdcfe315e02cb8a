"""Architectures of real models, small and with random weights, are verified."""

import warnings

import pytest
import torch

from sneframe.architecture import Architecture
from sneframe.symmetry import verify

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow

WORDS = torch.tensor([[3, 7, 1, 4, 9], [2, 2, 8, 5, 6]])
IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TEXT = {"input_ids": WORDS}
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4}
LAYERS = {"num_hidden_layers": 2}


def text(name, kind, **options):
    """Return a function that makes a model of words, and an input."""

    def make():
        config = getattr(transformers, f"{name}Config")(vocab_size=40, **options)
        return getattr(transformers, f"{name}{kind}")(config)

    return make, TEXT


def image(name, kind, **options):
    """Return a function that makes a model of images, and an input."""

    def make():
        config = getattr(transformers, f"{name}Config")(image_size=16, patch_size=4, **options)
        return getattr(transformers, f"{name}{kind}")(config)

    return make, {"pixel_values": IMAGE}


def clip(activation):
    def make():
        parts = {**SMALL, **LAYERS, "hidden_act": activation}
        words = {**parts, "vocab_size": 40, "max_position_embeddings": 8, "eos_token_id": 9}
        config = transformers.CLIPConfig(
            text_config=words, vision_config={**parts, "image_size": 16, "patch_size": 4}, projection_dim=12
        )
        return transformers.CLIPModel(config)

    return make, {**TEXT, "pixel_values": IMAGE}


def t5(feed_forward, **options):
    def make():
        config = transformers.T5Config(
            vocab_size=40, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4,
            feed_forward_proj=feed_forward, **options,
        )  # fmt: skip
        return transformers.T5ForConditionalGeneration(config)

    return make, {**TEXT, "decoder_input_ids": WORDS[:, :3]}


GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 8, "bos_token_id": 0, "eos_token_id": 0}
GROUPED = {**SMALL, **LAYERS, "num_key_value_heads": 2}
MODELS = {
    "bert": text("Bert", "Model", **SMALL, **LAYERS),
    "bert-relu": text("Bert", "ForMaskedLM", **SMALL, **LAYERS, hidden_act="relu"),
    "bert-classifier": text("Bert", "ForSequenceClassification", **SMALL, **LAYERS, num_labels=3),
    "gpt2": text("GPT2", "LMHeadModel", **GPT2, use_cache=False),
    "gpt2-cache": text("GPT2", "LMHeadModel", **GPT2),
    "gpt2-relu": text("GPT2", "Model", **GPT2, use_cache=False, activation_function="relu"),
    "t5": t5("relu", use_cache=False),
    "t5-gated": t5("gated-gelu", use_cache=False),
    "t5-cache": t5("relu"),
    "vit": image("ViT", "ForImageClassification", **SMALL, **LAYERS),
    "vit-relu": image("ViT", "Model", **SMALL, **LAYERS, hidden_act="relu"),
    "clip": clip("quick_gelu"),
    "clip-relu": clip("relu"),
    "neox": text("GPTNeoX", "ForCausalLM", **SMALL, **LAYERS, use_cache=False),
    "neox-sequential": text(
        "GPTNeoX", "Model", **SMALL, **LAYERS, use_cache=False, use_parallel_residual=False
    ),
    "llama": text("Llama", "ForCausalLM", **GROUPED, use_cache=False),
    "llama-relu": text("Llama", "Model", **GROUPED, use_cache=False, hidden_act="relu"),
    "llama-cache": text("Llama", "ForCausalLM", **GROUPED),
    "mistral": text("Mistral", "ForCausalLM", **GROUPED, use_cache=False),
    "mistral-window": text("Mistral", "Model", **GROUPED, use_cache=False, sliding_window=3),
    "mamba": text("Mamba", "ForCausalLM", hidden_size=16, num_hidden_layers=2, state_size=4, use_cache=False),
    "mamba-cache": text("Mamba", "Model", hidden_size=16, num_hidden_layers=1, state_size=4),
    "qwen2": text("Qwen2", "ForCausalLM", **GROUPED, use_cache=False),
    "roberta": text("Roberta", "Model", **SMALL, **LAYERS, max_position_embeddings=12),
    "distilbert": text("DistilBert", "Model", dim=16, hidden_dim=24, n_heads=4, n_layers=2),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", MODELS)
def test_transformers_models_are_verified(name, seed):
    """The architecture that is derived for a model of transformers is verified."""
    make, example = MODELS[name]
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about axes that are not followed, which do not matter here
        model = make().eval()
        architecture = Architecture.from_module(model, example)
    seen = verify(model, architecture, example, seed=seed)
    assert seen.passes or not architecture.groups


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11_bn", "densenet121", "squeezenet1_0"])
def test_torchvision_models_are_verified(name, seed):
    """The architecture that is derived for a model of torchvision is verified."""
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(seed)
    model, example = getattr(models, name)(weights=None).eval(), torch.randn(1, 3, 64, 64)
    assert verify(model, Architecture.from_module(model, example), example, seed=seed).passes


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_timm_models_are_verified(name):
    """The architecture that is derived for a model of timm is verified."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model, example = timm.create_model(name, pretrained=False).eval(), torch.randn(1, 3, 224, 224)
    assert verify(model, Architecture.from_module(model, example), example).passes
