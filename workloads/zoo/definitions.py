# pyright: basic
"""The zoo's models with example inputs; every dropout is 0, and the loss is the model's cross entropy."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import nn

from workloads.zoo.images import ResNet, Vgg19

__all__ = ["BUILDERS", "OPTIMIZER"]

_Built: TypeAlias = tuple[nn.Module, tuple[torch.Tensor, ...] | dict[str, Any]]


def resnet18(batch: int = 1) -> _Built:
    """ResNet-18, 224x224, 1000 classes (arXiv:1512.03385)."""
    return ResNet((2, 2, 2, 2), bottleneck=False, classes=1000, small_images=False), _images(batch, 224)


def resnet50(batch: int = 1) -> _Built:
    """ResNet-50, 224x224, 1000 classes (arXiv:1512.03385)."""
    return ResNet((3, 4, 6, 3), bottleneck=True, classes=1000, small_images=False), _images(batch, 224)


def resnet18_cifar(batch: int = 1) -> _Built:
    """ResNet-18 with a 3x3 stem and no pooling after it, 32x32, 10 classes."""
    return ResNet((2, 2, 2, 2), bottleneck=False, classes=10, small_images=True), _images(batch, 32)


def vgg19_cifar(batch: int = 1) -> _Built:
    """VGG-19 with batch norm, 32x32, 100 classes."""
    return Vgg19(classes=100), _images(batch, 32)


def vit_b16(batch: int = 1) -> _Built:
    """ViT-B/16, 224x224, 1000 classes (arXiv:2010.11929)."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config.num_labels = 1000
    pixels, labels = _images(batch, 224)
    return ViTForImageClassification(config), {"pixel_values": pixels, "labels": labels}


def bert_base(batch: int = 1) -> _Built:
    """BERT base with the masked-language head, 128 tokens (arXiv:1810.04805)."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return BertForMaskedLM(config), _tokens(batch, 128)


def gpt2(batch: int = 1) -> _Built:
    """GPT-2 small, 1024 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"  # the loss it would fall back to with a warning
    return model, _tokens(batch, 1024)


def llama_1b(batch: int = 1) -> _Built:
    """A 1.1 billion parameter Llama (the shape of TinyLlama, arXiv:2401.02385), 2048 tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        intermediate_size=5632,
        vocab_size=32000,
        max_position_embeddings=2048,
        use_cache=False,
    )
    return LlamaForCausalLM(config), _tokens(batch, 2048)


BUILDERS: Mapping[str, Callable[..., _Built]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnet18-cifar": resnet18_cifar,
    "vgg19-cifar": vgg19_cifar,
    "vit-b16": vit_b16,
    "bert-base": bert_base,
    "gpt2": gpt2,
    "llama-1b": llama_1b,
}
OPTIMIZER: Mapping[str, str] = {"vit-b16": "adamw", "bert-base": "adamw", "gpt2": "adamw", "llama-1b": "adamw"}
"""Optimizers other than SGD with momentum: transformers are trained with AdamW."""


def _images(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(batch, 3, size, size), torch.zeros(batch, dtype=torch.long)


def _tokens(batch: int, length: int) -> dict[str, Any]:
    ids = torch.zeros(batch, length, dtype=torch.long)
    return {"input_ids": ids, "labels": torch.zeros(batch, length, dtype=torch.long)}
