"""``trimseek cluster serve``: a front and shards as deployments of Ray Serve.

Each shard of a generation is an application of its own, without HTTP; the front is the service's
FastAPI application over all of them. A new manifest is taken up so: its shards are started beside
those that serve, the front asks them from some moment on, and the old ones end when whatever began
before is answered.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any

from trimseek.api.app import create_app
from trimseek.api.errors import NotReadyError, as_answer
from trimseek.api.indexes import Indexes
from trimseek.api.keys import read_keys
from trimseek.api.logs import start_logging
from trimseek.api.service import Service
from trimseek.api.settings import ServiceSettings
from trimseek.cluster.fetch import fetched_shard, remove_old
from trimseek.cluster.manifest import Manifest, file_folder, served_manifest
from trimseek.cluster.ray_cluster import quiet, ray_errors
from trimseek.cluster.searcher import ClusterSearcher, Generation
from trimseek.cluster.shard import Shard
from trimseek.cluster.shards import Answers, Question
from trimseek.cluster.storage import Storage
from trimseek.console import note
from trimseek.errors import ServiceError, StorageError, TrimseekError
from trimseek.formats import adapter

FRONT = "trimseek"  # the application
WAITING = 16  # searches of the front at once, for each CPU: they wait for shards
HEALTH_SECONDS = 2.0  # between two looks at a replica: a dead one is replaced so much sooner
DEFAULTS: Mapping[str, Any] = {  # of both deployments
    "ray_actor_options": {"num_cpus": 0.1},
    "logging_config": {"enable_access_log": False},
    "graceful_shutdown_wait_loop_s": 0.1,
    "health_check_period_s": HEALTH_SECONDS,
}
PAUSE = 1.0  # seconds for which a shard that did not answer is not asked
OWN_ERROR = re.compile(r"trimseek\.errors\.\w+: (.+)")
DRAIN = 1.0  # seconds beyond a request's deadline, before old shards end


@dataclass(frozen=True)
class ServeOptions:
    """What a cluster is served with.

    ``shard_seconds``: that a shard may take for an answer. ``shard_options``, ``front_options``: of
    ``ray.serve.deployment``, as ``{"num_replicas": 2}`` or ``{"autoscaling_config": {...}}``.
    ``every``: seconds between two looks for a new manifest.
    """

    name: str
    settings: dict[str, Any]
    shard_seconds: float
    every: float
    shard_options: Mapping[str, Any] = field(default_factory=dict)
    front_options: Mapping[str, Any] = field(default_factory=dict)


class ShardReplica:
    """A shard in a process of its own: fetches its files, opens them, and answers the front."""

    def __init__(self, uri: str, manifest: str, shard: int) -> None:
        storage, own = Storage(uri), as_manifest(manifest)
        self._shard = Shard(fetched_shard(storage, own, shard))
        remove_old(storage, own)

    def ask(self, method: str, arguments: Sequence[Any]) -> Any:
        """As ``Shard.ask``; errors of ours are given, not raised, so that Ray adds nothing."""
        try:
            return self._shard.ask(method, *arguments)
        except TrimseekError as error:
            return error

    def check_health(self) -> None:
        """Raise where the shard cannot be read; Serve then replaces the replica."""
        self._shard.ping()


class ServedShards:
    """The shards of one generation, as Ray Serve runs them.

    ``loop``: of the front, where handles are awaited while a thread of the engine waits.
    """

    def __init__(self, handles: Sequence[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._handles, self._loop = handles, loop
        self.count = len(handles)
        self._paused: dict[int, tuple[float, str]] = {}  # until when, and why

    def ask(self, questions: Mapping[int, Question], seconds: float) -> Answers:
        """As ``Shards.ask``; who did not answer a moment ago is not asked."""
        now, answers = time.monotonic(), Answers({}, {})
        asked = {}
        for shard, question in questions.items():
            until, reason = self._paused.get(shard, (0.0, ""))
            if until > now:
                answers.failed[shard] = reason
            else:
                asked[shard] = question
        heard = asyncio.run_coroutine_threadsafe(self._heard(asked, seconds), self._loop).result()
        for shard, answer in heard.items():
            if isinstance(answer, TimeoutError):
                self._fail(answers, shard, f"no answer within {seconds:g} s")
            elif isinstance(answer, TrimseekError):
                raise answer
            elif isinstance(answer, BaseException):  # the replica has died, or is not there yet
                self._fail(answers, shard, f"{type(answer).__name__}: {last_line(answer)}")
            else:
                self._paused.pop(shard, None)
                answers.by_shard[shard] = answer
        return answers

    async def _heard(self, asked: Mapping[int, Question], seconds: float) -> dict[int, Any]:
        """What shards say, or the error that was raised in the place of an answer."""

        async def one(shard: int, question: Question) -> Any:
            return await asyncio.wait_for(self._handles[shard].ask.remote(*question), seconds)

        questions = (one(shard, question) for shard, question in asked.items())
        heard = await asyncio.gather(*questions, return_exceptions=True)
        return dict(zip(asked, heard, strict=True))

    def _fail(self, answers: Answers, shard: int, reason: str) -> None:
        answers.failed[shard] = reason
        self._paused[shard] = time.monotonic() + PAUSE, reason

    def close(self) -> None:
        """The applications end by themselves."""


class Front:
    """The service's application over shards; its user_config is the manifest to serve."""

    def __init__(self, uri: str, options: ServeOptions) -> None:
        self._storage, self._options = Storage(uri), options
        self._settings = ServiceSettings(**options.settings)
        self._draining = Event()
        self._searcher: ClusterSearcher | None = None
        self._service: Service | None = None
        self._application: Any = None
        start_logging(self._settings)

    async def reconfigure(self, config: Mapping[str, str]) -> None:
        """Serve a manifest from now on."""
        manifest = as_manifest(config["manifest"])
        shards = ServedShards(shard_handles(manifest), asyncio.get_running_loop())
        encoder = self._settings.query_encoder
        generation = await asyncio.to_thread(Generation, self._storage, manifest, shards, encoder)
        if self._searcher is not None:
            self._searcher.take_up(generation)
            return
        name, seconds = self._options.name, self._options.shard_seconds
        self._searcher = ClusterSearcher(name, self._storage.uri, generation, seconds)
        self._service = Service(
            Indexes({name: self._searcher}, None, self._settings.query_encoder),
            self._settings,
            read_keys(self._settings.keys_file, self._settings.keys),
            self._draining,
            searches=WAITING * self._settings.threads,
        )
        self._application = create_app(self._service)

    def __serve_build_asgi_app__(self) -> Any:
        """What Ray Serve sends requests to."""

        # a function: of what else can be called, uvicorn takes a bound method for ASGI 2
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await self.answer(scope, receive, send)

        return application

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """As any ASGI application."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._draining.set()
            if self._service is not None:
                self._service.close()
            await send({"type": "lifespan.shutdown.complete"})
        elif self._application is None:
            await as_answer(NotReadyError("no manifest is served yet"))(scope, receive, send)
        else:
            await self._application(scope, receive, send)


class ServedCluster:
    """What serves below a URI, kept up to date; Ray is connected."""

    def __init__(self, uri: str, options: ServeOptions) -> None:
        self.uri, self.options = uri, options
        self._storage = Storage(uri)
        self._served: Manifest | None = None

    def start(self, host: str, port: int) -> None:
        """Start the front and the shards of the manifest that is there; TrimseekError."""
        from ray import serve

        manifest = self._manifest()
        with quiet("ray.serve"):
            serve.start(
                proxy_location="EveryNode",
                http_options={"host": host, "port": port, "request_timeout_s": None},
            )
        self._take_up(manifest)

    def _manifest(self) -> Manifest:
        """The manifest that is there; StorageError where a file that it names is not."""
        manifest = served_manifest(self._storage)
        sizes = self._storage.names(file_folder(manifest.words.file))
        for file in manifest.files:
            if sizes.get(file.name) != file.bytes:
                what = "no such file" if file.name not in sizes else "damaged: of another size"
                raise StorageError(
                    f"{self._storage.path(file.name)}: {what}; build the index again"
                )
        return manifest

    def watch(self, stop: Event) -> None:
        """Take up new manifests until ``stop`` is set."""
        refused = ""
        while not stop.wait(self.options.every):
            try:
                manifest = self._manifest()
                if self._served is None or manifest.id in (self._served.id, refused):
                    continue
                refused = manifest.id
                self._take_up(manifest)
            except TrimseekError as error:
                note(f"{error}; what was served before is served on")

    def stop(self) -> None:
        """Answer what is under way, then end."""
        from ray import serve

        with quiet("ray.serve"):
            serve.delete(FRONT)
            for application in list(serve.status().applications):
                serve.delete(application, _blocking=False)

    def _take_up(self, manifest: Manifest) -> None:
        from ray import serve

        before = self._served
        targets = [
            serve.RunTarget(
                self._shard(manifest, shard),
                name=application_name(manifest, shard),
                route_prefix=None,
            )
            for shard in range(len(manifest.shards))
        ]
        with ray_errors(), quiet("ray.serve"):
            try:
                serve.run_many(targets)
                serve.run(self._front(manifest), name=FRONT, route_prefix="/")
            except BaseException as error:
                reason = start_failure()
                if before is not None:
                    self._delete(manifest)
                if isinstance(error, RuntimeError):
                    raise ServiceError(f"{self.uri}: cannot be served: {reason}") from error
                raise
        self._served = manifest
        note(
            f"serving generation {manifest.generation} of {self.uri}: {manifest.documents:,} "
            f"documents in {len(manifest.shards)} shards"
        )
        if before is not None:
            time.sleep(float(self.options.settings["deadline"]) + DRAIN)
            self._delete(before)

    def _delete(self, manifest: Manifest) -> None:
        from ray import serve

        for shard in range(len(manifest.shards)):
            serve.delete(application_name(manifest, shard), _blocking=False)

    def _shard(self, manifest: Manifest, shard: int) -> Any:
        from ray import serve

        own = {"max_ongoing_requests": 64, "graceful_shutdown_timeout_s": 5.0}
        options = {**DEFAULTS, **own, **self.options.shard_options}
        deployment = serve.deployment(ShardReplica).options(name="shard", **options)
        return deployment.bind(self.uri, manifest_json(manifest), shard)

    def _front(self, manifest: Manifest) -> Any:
        from ray import serve

        options = {**DEFAULTS, "max_ongoing_requests": 256, **self.options.front_options}
        deployment = serve.deployment(serve.ingress()(Front)).options(
            name="front", user_config={"manifest": manifest_json(manifest)}, **options
        )
        return deployment.bind(self.uri, self.options)


def last_line(error: BaseException) -> str:
    """Of what an error of Ray says: that is where the cause stands, behind a traceback."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else ""


def shard_handles(manifest: Manifest) -> list[Any]:
    """What sends questions to the shards of a generation."""
    from ray import serve

    return [
        serve.get_deployment_handle("shard", app_name=application_name(manifest, shard)).options(
            _by_reference=False  # straight to the replica, in half of the time
        )
        for shard in range(len(manifest.shards))
    ]


def start_failure() -> str:
    """Why a replica could not be started, as Ray Serve knows it: the line of our error."""
    from ray import serve

    for application in serve.status().applications.values():
        for deployment in application.deployments.values():
            own = OWN_ERROR.findall(deployment.message)
            if own:
                return str(own[-1])
    return "a replica did not start; Ray's logs say more"


def application_name(manifest: Manifest, shard: int) -> str:
    """Of a shard of a generation."""
    return f"trimseek-{manifest.id[:12]}-shard-{shard:04d}"


def manifest_json(manifest: Manifest) -> str:
    """As it goes to replicas."""
    return json.dumps(asdict(manifest))


def as_manifest(text: str) -> Manifest:
    """What ``manifest_json`` made."""
    manifest: Manifest = adapter(Manifest).validate_json(text)
    return manifest
