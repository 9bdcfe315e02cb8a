"""The file config.json describes models of transformers, without downloads and without foreign code."""

import json
import warnings
from pathlib import Path

import pytest
import torch

from sneframe.architecture import Architecture
from sneframe.errors import ConfigError, FileError
from sneframe.files.module_factory import Factory
from sneframe.files.state_dict import read_state_dict

SMALL = {"vocab_size": 13, "bos_token_id": 1, "eos_token_id": 2, "use_cache": True}
BERT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
GPT2 = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 12}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that saves a small model of transformers, and returns the model and its file."""
    transformers = pytest.importorskip("transformers")
    kinds = {
        "BertModel": transformers.BertConfig(**SMALL, **BERT, max_position_embeddings=12),
        "BertForSequenceClassification": transformers.BertConfig(
            **SMALL, **BERT, max_position_embeddings=12, num_labels=3
        ),
        "GPT2LMHeadModel": transformers.GPT2Config(**SMALL, **GPT2),
        "ViTModel": transformers.ViTConfig(**BERT, image_size=16, patch_size=4),
    }

    def save(kind):
        folder = tmp_path_factory.mktemp(kind)
        model = getattr(transformers, kind)(kinds[kind])
        model.save_pretrained(folder)
        return model, folder / "model.safetensors"

    return save


def change(file, **values):
    """Change settings in the config beside a file. None removes a setting."""
    path = file.parent / "config.json"
    data = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def described(file, word="transformers", path=None):
    tensors = read_state_dict(file).tensors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about axes that are not followed
        return Factory(word).architecture(tensors, {}, path or file)


@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForSequenceClassification", "GPT2LMHeadModel", "ViTModel"]
)
def test_config_json_describes_a_model_of_transformers(saved, kind):
    """The architecture is that of the model that was saved, and it is verified."""
    model, file = saved(kind)
    model.config.use_cache = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Architecture.from_module(model.eval())
    found = described(file)
    assert found.symmetry == "verified"
    assert [p.shape for p in found.parameters] == [p.shape for p in expected.parameters]
    assert [(g.size, g.actions) for g in found.groups] == [(g.size, g.actions) for g in expected.groups]
    assert found.groups
    assert described(file, path=file.parent) == found
    state, tensors = model.state_dict(), read_state_dict(file).tensors
    for own, other in zip(expected.parameters, found.parameters, strict=True):
        assert torch.equal(tensors[other.name], state[own.name])


def test_files_of_a_related_class_have_its_prefix(saved):
    """A file of the bare model fits a class that holds the model under a prefix, as in transformers."""
    model, file = saved("GPT2LMHeadModel")
    tensors = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factory = Factory("transformers")
        found, expected = (factory.architecture(each, {}, file) for each in (bare, tensors))
    assert {p.name for p in found.parameters} == bare.keys()
    assert {p.name for p in expected.parameters} == tensors.keys()
    assert found.groups == expected.groups


def test_names_of_old_checkpoints_are_understood(saved):
    """The names gamma and beta of early checkpoints are those of the file and of its architecture."""
    model, file = saved("BertModel")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in model.state_dict().items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Factory("transformers").architecture(old, {}, file)
    assert {p.name for p in found.parameters} == old.keys()
    both = {**old, "embeddings.LayerNorm.weight": old["embeddings.LayerNorm.gamma"]}
    with pytest.raises(FileError, match="transformers gives two tensors of the file the same name"):
        Factory("transformers").architecture(both, {}, file)


def test_the_word_may_name_the_class(saved):
    """A class in the word serves a config that names none."""
    _, file = saved("BertModel")
    change(file, architectures=None)
    with pytest.raises(
        FileError, match=r"config\.json names no class in 'architectures'; name one as transf"
    ):
        described(file)
    assert described(file, "transformers:BertModel").symmetry == "verified"
    with pytest.raises(ConfigError, match=r"transformers has no model 'BertModle', did you mean 'BertModel'"):
        Factory("transformers:BertModle")


def test_a_larger_network_than_the_files_is_not_built(saved):
    """A config that describes a much larger network is refused before memory is taken."""
    _, file = saved("BertModel")
    change(file, vocab_size=10**12)
    with pytest.raises(FileError, match=r"config\.json describes a larger network than the file holds"):
        described(file)
    change(file, vocab_size=13, num_hidden_layers=10**6)
    with pytest.raises(FileError, match=r"config\.json describes a larger network than the file holds"):
        described(file)
    change(file, num_hidden_layers=2)
    with pytest.raises(FileError, match=r"the file lacks 'encoder\.layer\.1.*', which BertModel has"):
        described(file)


@pytest.mark.parametrize(
    "values", [{"num_labels": 10**10}, {"num_hidden_layers": 10**400}, {"inner": [{"n_layer": 1e300}]}]
)
def test_a_count_that_would_take_memory_is_refused(saved, values):
    """A count of which a config makes a list is refused before the config is made."""
    _, file = saved("BertModel")
    change(file, **values)
    with pytest.raises(FileError, match=r"^config\.json: (num_labels|num_hidden_layers|n_layer) is "):
        described(file)


def test_foreign_code_and_kernels_are_left_out(saved):
    """Settings that name code in a hub or a number type do not change what is built."""
    _, file = saved("GPT2LMHeadModel")
    expected = described(file)
    change(
        file,
        auto_map={"AutoModelForCausalLM": "someone/repository--code.Model"},
        _attn_implementation="someone/kernels",
        attn_implementation="someone/kernels",
        quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True},
        dtype="float16",
        output_hidden_states=True,
    )
    assert described(file) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"^there is no config\.json in the folder of the file$"),
        ("{", r"^config\.json is not valid JSON: JSONDecodeError"),
        ("[]", r"^config\.json must hold a JSON object$"),
        ("[" * 10**5, r"^config\.json is not valid JSON: RecursionError"),
        (" " * (1 << 20) + "{}", r"^config\.json is larger than 1048576 bytes$"),
        ("\x00\xff", r"^config\.json is not valid JSON"),
        ("1" * 10**4, r"^config\.json is not valid JSON"),
        ('{"architectures": [3]}', r"^config\.json names no class in 'architectures'"),
        ('{"architectures": "BertModel"}', r"^config\.json names no class in 'architectures'"),
        ('{"architectures": ["os.system"]}', r"^transformers has no model 'os\.system'"),
        ('{"architectures": ["pipeline"]}', r"^transformers has no model 'pipeline'"),
        ('{"architectures": ["AutoModel"]}', r"^transformers has no model 'AutoModel'"),
        ('{"architectures": ["PreTrainedModel"]}', r"^transformers has no model 'PreTrainedModel'"),
        ('{"architectures": ["__name__"]}', r"^transformers has no model '__name__'"),
    ],
)
def test_a_bad_config_is_one_line(saved, text, said):
    """A config that is missing, damaged or hostile is one line, and only its file is skipped."""
    _, file = saved("BertModel")
    path = file.parent / "config.json"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(FileError, match=said) as error:
        described(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [{"hidden_size": 7}, {"hidden_size": "x"}, {"hidden_act": "gone"}, {"hidden_size": -8}, {"id2label": 3}],
)
def test_a_config_that_builds_nothing_is_one_line(saved, values):
    """Settings that transformers refuses are one line, and only their file is skipped."""
    _, file = saved("BertModel")
    change(file, **values)
    with pytest.raises(FileError, match=r"^config\.json gives no BertModel: ") as error:
        described(file)
    assert "\n" not in str(error.value)


def test_a_deep_config_is_one_line(saved):
    """Settings that nest deeply but are valid JSON are one line."""
    _, file = saved("BertModel")
    for depth in (400, 900):
        value = []
        for _ in range(depth):
            value = [value]
        change(file, hidden_act=value)
        with pytest.raises(FileError, match=r"config\.json") as error:
            described(file)
        assert "\n" not in str(error.value)


def test_a_pretrained_backbone_is_not_downloaded(saved):
    """A config that asks for a pretrained backbone opens no connection."""
    _, file = saved("BertModel")
    change(
        file,
        architectures=["DetrForObjectDetection"],
        model_type="detr",
        backbone="microsoft/resnet-50",
        use_timm_backbone=False,
        use_pretrained_backbone=True,
        backbone_config=None,
    )
    with pytest.raises(FileError, match=r"config\.json (gives no|describes a larger network)"):
        Factory("transformers").architecture(read_state_dict(file).tensors, {}, file)


def test_transformers_needs_a_file(saved):
    """A state dict is not in a file, so no config is beside it."""
    model, _ = saved("BertModel")
    with pytest.raises(
        ConfigError, match=r"transformers: reads config\.json beside a file, but this network"
    ):
        Factory("transformers").architecture(model.state_dict(), {}, None)


def test_a_missing_folder_is_one_line(saved):
    """A path whose folder does not exist has no config."""
    model, _ = saved("BertModel")
    with pytest.raises(FileError, match=r"there is no config\.json"):
        Factory("transformers").architecture(model.state_dict(), {}, Path("/no/such/file.safetensors"))
