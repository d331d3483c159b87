"""Where each supported model family keeps its tensors and sizes.

BERT: Devlin et al. 2019. RoBERTa: Liu et al. 2019. XLM-R: Conneau et al. 2020.
CamemBERT: Martin et al. 2020 (a RoBERTa).
DistilBERT: Sanh et al. 2019. ELECTRA: Clark et al. 2020 (its discriminator is the encoder).
"""

from dataclasses import dataclass

from trimseek.errors import EncoderError


@dataclass(frozen=True)
class Family:
    """Names of the tensors of a family, and of the sizes in its config.json.

    ``layer`` is the name of layer ``{i}``; the fields below it are names within a layer.
    ``position_offset``: positions start after the padding id (RoBERTa) instead of at 0.
    ``pair_types``: the second text of a pair is of token type 1. ``head_``: of a cross-encoder, see
    ``encoders.head``.
    """

    prefix: str
    layer: str = "encoder.layer.{i}"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    intermediate: str = "intermediate.dense"
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    heads: str = "num_attention_heads"
    layers: str = "num_hidden_layers"
    activation: str = "hidden_act"
    position_offset: bool = False
    token_types: bool = True
    pair_types: bool = False
    head_dense: str = "classifier.dense"
    head_activation: str = "tanh"
    head_out: str = "classifier.out_proj"


BERT = Family(prefix="bert", pair_types=True, head_dense="pooler.dense", head_out="classifier")
ROBERTA = Family(prefix="roberta", position_offset=True)
ELECTRA = Family(prefix="electra", pair_types=True, head_activation="gelu")
DISTILBERT = Family(
    prefix="distilbert",
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
    token_types=False,
    head_dense="pre_classifier",
    head_activation="relu",
    head_out="classifier",
)

FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
}


def family_of(model_type: object, where: str) -> Family:
    """The family of a config.json's ``model_type``; EncoderError naming those supported."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    raise EncoderError(
        f"{where}: unsupported architecture {model_type!r}; supported: {', '.join(FAMILIES)}"
    )
