"""Where each supported model family keeps its tensors and sizes, and how its layers work.

BERT: Devlin et al. 2019. RoBERTa: Liu et al. 2019. XLM-R: Conneau et al. 2020.
CamemBERT: Martin et al. 2020 (a RoBERTa).
DistilBERT: Sanh et al. 2019. ELECTRA: Clark et al. 2020 (its discriminator is the encoder).
MPNet: Song et al. 2020. ModernBERT: Warner et al. 2024. NomicBERT: Nussbaum et al. 2024.
GTE: Zhang et al. 2024. Jina v3 (without its adapters): Sturua et al. 2024.

A family is a description: the next one is a ``Family`` here, and a name in the tests of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trimseek.errors import EncoderError


@dataclass(frozen=True)
class Family:
    """Names of the tensors of a family, and of the sizes in its config.json.

    ``layer`` is the name of layer ``{i}``; the fields below it are names within a layer. ``qkv``:
    of queries, keys and values in one, instead of three. ``gate``: where the FFN is gated, the
    matrix whose outputs are activated, beside ``intermediate``; or ``intermediate`` has both, and
    ``gate_first`` says which comes first. ``positions``: empty where there is no table of them.
    ``position_offset``: positions start after the padding id (RoBERTa) instead of at 0.
    ``relative``: of biases by distance (Shaw et al. 2018; Raffel et al. 2020), up to ``reach``.
    ``theta``: of rotary positions, where the config has none; 0: positions are not rotary.
    ``local_theta``: as ``theta``, of layers whose attention is local.
    ``pre_norm``: see ``Structure``; ``final_norm``: the one behind all layers. ``biases``: false
    where a matrix or norm without a bias is no mistake. ``old_sizes``: other names that config.json
    may have for sizes. ``pair_types``: the second text of a pair is of token type 1. ``head_``: of
    a cross-encoder, see ``encoders.head``; empty where those are not supported.
    """

    prefix: str
    words: str = "embeddings.word_embeddings"
    positions: str = "embeddings.position_embeddings"
    types: str = "embeddings.token_type_embeddings"
    embedding_norm: str = "embeddings.LayerNorm"
    layer: str = "encoder.layer.{i}"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    qkv: str = ""
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    gate: str = ""
    intermediate: str = "intermediate.dense"
    gate_first: bool | None = None
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    final_norm: str = ""
    heads: str = "num_attention_heads"
    layers: str = "num_hidden_layers"
    activation: str = "hidden_act"
    epsilon: str = "layer_norm_eps"
    position_offset: bool = False
    relative: str = ""
    reach: int = 128
    theta: float = 0.0
    local_theta: float = 0.0
    pre_norm: bool = False
    biases: bool = True
    old_sizes: Mapping[str, str] = field(default_factory=dict)
    pair_types: bool = False
    head_dense: str = "classifier.dense"
    head_activation: str = "tanh"
    head_out: str = "classifier.out_proj"

    @property
    def gated(self) -> bool:
        """Whether the FFN is gated."""
        return bool(self.gate) or self.gate_first is not None

    def spelled(self, name: str) -> tuple[str, str]:
        """A tensor's name without and with the prefix."""
        return name, f"{self.prefix}.{name}"


BERT = Family(prefix="bert", pair_types=True, head_dense="pooler.dense", head_out="classifier")
ROBERTA = Family(prefix="roberta", position_offset=True)
ELECTRA = Family(prefix="electra", pair_types=True, head_activation="gelu")
DISTILBERT = Family(
    prefix="distilbert",
    types="",
    layer="transformer.layer.{i}",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    intermediate="ffn.lin1",
    output="ffn.lin2",
    output_norm="output_layer_norm",
    heads="n_heads",
    layers="n_layers",
    activation="activation",
    head_dense="pre_classifier",
    head_activation="relu",
    head_out="classifier",
)
MPNET = Family(
    prefix="mpnet",
    types="",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    attention_norm="attention.LayerNorm",
    position_offset=True,
    relative="encoder.relative_attention_bias",
)
MODERNBERT = Family(
    prefix="model",
    words="embeddings.tok_embeddings",
    positions="",
    types="",
    embedding_norm="embeddings.norm",
    layer="layers.{i}",
    qkv="attn.Wqkv",
    attention_output="attn.Wo",
    attention_norm="attn_norm",
    intermediate="mlp.Wi",
    gate_first=True,
    output="mlp.Wo",
    output_norm="mlp_norm",
    final_norm="final_norm",
    activation="hidden_activation",
    epsilon="norm_eps",
    theta=160_000.0,
    local_theta=10_000.0,
    pre_norm=True,
    biases=False,
    head_dense="",
)
ROTARY = Family(  # as transformers names the tensors of several families
    prefix="",
    positions="",
    layer="layers.{i}",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.o_proj",
    attention_norm="post_attention_layernorm",
    gate="mlp.gate_proj",
    intermediate="mlp.up_proj",
    output="mlp.down_proj",
    output_norm="post_mlp_layernorm",
    biases=False,
    head_dense="",
)
NOMIC_SIZES = {
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
    "hidden_act": "activation_function",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
    "rope_theta": "rotary_emb_base",
}
NOMIC = replace(ROTARY, prefix="nomic_bert", theta=1000.0, old_sizes=NOMIC_SIZES)
NOMIC_ON_THE_HUB = replace(
    NOMIC,
    prefix="bert",
    embedding_norm="emb_ln",
    layer="encoder.layers.{i}",
    qkv="attn.Wqkv",
    attention_output="attn.out_proj",
    attention_norm="norm1",
    gate="mlp.fc12",
    intermediate="mlp.fc11",
    output="mlp.fc2",
    output_norm="norm2",
)
GTE = replace(ROTARY, prefix="gte", theta=160_000.0)
GTE_ON_THE_HUB = replace(
    GTE,
    prefix="new",
    layer="encoder.layer.{i}",
    qkv="attention.qkv_proj",
    attention_output="attention.o_proj",
    attention_norm="attn_ln",
    gate="",
    intermediate="mlp.up_gate_proj",
    gate_first=False,
    output_norm="mlp_ln",
)
JINA_V3 = replace(
    ROTARY,
    prefix="roberta",
    gate="",
    intermediate="mlp.fc1",
    output="mlp.fc2",
    theta=20_000.0,
)
JINA_V3_ON_THE_HUB = replace(
    JINA_V3,
    embedding_norm="emb_ln",
    layer="encoder.layers.{i}",
    qkv="mixer.Wqkv",
    attention_output="mixer.out_proj",
    attention_norm="norm1",
    output_norm="norm2",
)

# Where a family has several, they are tried in this order.
FAMILIES: dict[str, tuple[Family, ...]] = {
    "bert": (BERT,),
    "roberta": (ROBERTA,),
    "xlm-roberta": (ROBERTA,),
    "camembert": (ROBERTA,),
    "distilbert": (DISTILBERT,),
    "electra": (ELECTRA,),
    "mpnet": (MPNET,),
    "modernbert": (MODERNBERT,),
    "nomic_bert": (NOMIC, NOMIC_ON_THE_HUB),
    "gte": (GTE, GTE_ON_THE_HUB),
    "new": (GTE_ON_THE_HUB, GTE),
    "jina_embeddings_v3": (JINA_V3, JINA_V3_ON_THE_HUB),
}


def family_of(model_type: object, tensors: Mapping[str, Any], where: str) -> Family:
    """The family of a config.json's ``model_type`` that these tensors are named as.

    EncoderError naming those supported.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise EncoderError(
            f"{where}: unsupported architecture {model_type!r}; supported: {', '.join(FAMILIES)}"
        )
    families = FAMILIES[model_type]
    for family in families:
        name = f"{family.layer.format(i=0)}.{family.output}.weight"
        if any(each in tensors for each in family.spelled(name)):
            return family
    return families[0]
