"""The build: compiles the modules that every request passes through, and writes the README for a package index.

The same sources, typed strictly, translated to C by mypyc: of the sidecar's own time a request costs about a third of
what it costs interpreted. The sources stay in the wheel, and the import system prefers what was compiled.

`SIDECAR_COMPILE` says what is built: `1` compiled, or the build fails; `0` pure Python, which runs anywhere; without it
compiled where a C compiler and Python's headers are, otherwise pure Python. `sidecar --version` tells which it became.
`SIDECAR_PROJECT_URL` is where the repository can be read: links and pictures of the README lead there.
"""

import os
import re
import shutil
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

COMPILED = (
    "authorizer.py",
    "decision/access_token.py",
    "decision/cache.py",
    "decision/client_permit.py",
    "decision/confirmation/__init__.py",
    "decision/confirmation/certificate.py",
    "decision/confirmation/method.py",
    "decision/confirmation/proof_key.py",
    "decision/credentials.py",
    "decision/denial.py",
    "decision/facts.py",
    "decision/failure.py",
    "decision/keys_in_force.py",
    "decision/matching.py",
    "decision/path.py",
    "decision/permit.py",
    "decision/presentation.py",
    "decision/proof.py",
    "decision/proof_header.py",
    "decision/reason.py",
    "decision/registered_client/fitness.py",
    "decision/registered_client/registry.py",
    "decision/registered_client/token_request.py",
    "decision/request.py",
    "decision/strict.py",
    "decision/terms.py",
    "decision/token.py",
    "decision/weight.py",
    "decision/watched.py",
    "entry/authorization_server.py",
    "entry/endpoint_paths.py",
    "entry/hand_over.py",
    "entry/issued_token.py",
    "entry/token_course.py",
    "http/answer.py",
    "http/certificate_header.py",
    "http/fields.py",
    "http/forwarding.py",
    "http/grpc.py",
    "http/http2_field.py",
    "http/http2_request.py",
    "http/http2_trailers.py",
    "http/identity.py",
    "http/intake.py",
    "http/lines.py",
    "http/message.py",
    "http/redirects.py",
    "http/response_fields.py",
    "http/target.py",
    "http/token_form.py",
    "proxy/client/backlog.py",
    "proxy/client/connection.py",
    "proxy/client/http1.py",
    "proxy/client/http1_reader.py",
    "proxy/client/http1_writer.py",
    "proxy/client/http2.py",
    "proxy/client/http2_allowance.py",
    "proxy/client/http2_deferred.py",
    "proxy/client/http2_stream.py",
    "proxy/client/http2_turns.py",
    "proxy/client/http2_writer.py",
    "proxy/client/link.py",
    "proxy/exchange/ending.py",
    "proxy/exchange/endpoint_exchange.py",
    "proxy/exchange/endpoints.py",
    "proxy/exchange/errand.py",
    "proxy/exchange/exchange.py",
    "proxy/exchange/occupancy.py",
    "proxy/exchange/snapshot.py",
    "proxy/exchange/stream.py",
    "proxy/exchange/tunnel.py",
    "proxy/exchange/unspoken_call.py",
    "proxy/http2/control.py",
    "proxy/http2/engine.py",
    "proxy/http2/events.py",
    "proxy/http2/fields.py",
    "proxy/http2/frames.py",
    "proxy/http2/hpack.py",
    "proxy/http2/hpack_encoder.py",
    "proxy/http2/hpack_names.py",
    "proxy/http2/hpack_tables.py",
    "proxy/http2/huffman.py",
    "proxy/http2/inbound.py",
    "proxy/http2/messages.py",
    "proxy/http2/outbound.py",
    "proxy/http2/streams.py",
    "proxy/tls/abstract.py",
    "proxy/tls/engine.py",
    "proxy/tls/plain.py",
    "proxy/upstream/connection.py",
    "proxy/upstream/http1_reader.py",
    "proxy/upstream/http1_writer.py",
    "proxy/upstream/http2.py",
    "proxy/upstream/http2_lane.py",
    "proxy/upstream/http2_noise.py",
    "proxy/upstream/http2_road.py",
    "proxy/upstream/http2_writer.py",
    "proxy/upstream/pool.py",
    "proxy/vouching/hop.py",
    "proxy/vouching/told.py",
    "telemetry/access.py",
    "telemetry/adoption.py",
    "telemetry/live.py",
    "telemetry/metrics.py",
    "telemetry/observer.py",
    "telemetry/outcome.py",
    "telemetry/record.py",
    "telemetry/sink.py",
    "telemetry/trace_context.py",
)
"""What a request runs through. Not here: what only the start, a handshake or a reload needs, and what is pickled on its
way from the process that reads the configuration (a compiled class has no state that pickle could see). What is made
for every request is a plain class: the `__init__` that a dataclass gets stays interpreted."""


_MYPY = ("--config-file=", "--ignore-missing-imports")
"""`make lint` checks the types; here they are only needed, and the libraries behind them may not be installed."""


_FLAGS = ("-Wno-misleading-indentation", "-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt")
"""That warning takes gcc much time and says nothing of generated code. Nobody outside calls what is compiled, and
nothing may take its place: so calls inside of it need no table, and those of CPython's functions one jump fewer.
"""


_NEEDED = ["mypy>=1.13", "setuptools>=75"]


class CompileHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Called by hatchling before it writes a wheel."""

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling."""
        return _NEEDED if self.target_name == "wheel" and _is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what came of it into the wheel."""
        if version == "editable" or not _is_wanted():
            return
        place = Path(self.root) / "build" / "compiled-objects"
        # A module that is no longer compiled must not come along.
        shutil.rmtree(place / "lib", ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        try:
            libraries = _compile(Path(self.root), place)
        except (Exception, SystemExit) as error:  # mypyc leaves by SystemExit
            if os.environ.get("SIDECAR_COMPILE") == "1":
                raise
            self.app.display_warning(
                f"not compiled: {type(error).__name__}: {error}; the wheel is pure Python"
            )
            return
        for library in libraries:
            build_data["force_include"][str(library)] = str(library.relative_to(place / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _is_wanted() -> bool:
    """Whether to compile: as `SIDECAR_COMPILE` says, else where it can be done."""
    asked = os.environ.get("SIDECAR_COMPILE", "")
    if asked in {"0", "1"}:
        return asked == "1"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(compiler) is not None and header.is_file()


def _compile(root: Path, place: Path) -> list[Path]:
    from mypyc.build import mypycify  # noqa: PLC0415 — needed only where something is compiled
    from setuptools import Distribution  # noqa: PLC0415

    before = Path.cwd()
    os.chdir(root)
    try:
        files = [f"sidecar/{name}" for name in COMPILED]
        extensions = mypycify(
            [*_MYPY, *files], opt_level="2", debug_level="0", multi_file=True, target_dir=str(place / "c")
        )
        for extension in extensions:
            # What the compiler writes down depends on the sources alone, not on where they lie.
            extension.extra_compile_args = [
                *extension.extra_compile_args,
                *_FLAGS,
                f"-ffile-prefix-map={root}=.",
            ]
            extension.extra_link_args.append("-Wl,--build-id=none")
        distribution = Distribution({"name": "bound-token-sidecar", "ext_modules": extensions})
        command = _on_every_core()(distribution)
        command.build_lib, command.build_temp = str(place / "lib"), str(place / "temp")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return sorted((place / "lib").rglob("*.so"))


def _on_every_core() -> Any:
    """Setuptools' command that builds extensions, made to translate as many files at once as there are cores.

    Its own `parallel` builds several extensions at once, but the files of one extension one after another, and nearly
    all files belong to one. The objects are linked in the order of the sources, whichever was ready first.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 — needed only where something is compiled

    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    class EveryCore(build_ext):  # type: ignore[misc]
        def build_extensions(self) -> None:
            self.parallel = cores = os.cpu_count() or 1
            one_by_one = self.compiler.compile
            with ThreadPoolExecutor(cores) as pool:

                def at_once(sources: list[str], **settings: Any) -> list[str]:
                    objects = pool.map(lambda source: one_by_one([source], **settings), sources)
                    return [name for names in objects for name in names]

                self.compiler.compile = at_once
                super().build_extensions()

    return EveryCore


# --- the README on a package index

_PICTURE = re.compile(r'(<img src="|<source [^>]*srcset="|!\[[^]]*\]\()(?!https?://)')
_LINK = re.compile(r"(?<!!)(\[[^]]*\]\()(?!https?://|#)")


class ReadmeHook(MetadataHookInterface):  # type: ignore[misc]
    """Called by hatchling for the metadata of a source distribution; a wheel has that of its source distribution."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Readme, and URLs, if it is known where the repository is."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        base = os.environ.get("SIDECAR_PROJECT_URL", "").rstrip("/")
        if base:
            if not re.fullmatch(r"https://[^\s/?#]+(/[^\s?#]+)?", base):
                message = (
                    f"SIDECAR_PROJECT_URL is {base!r}: write where the repository is, https://host/group/name"
                )
                raise ValueError(message)
            metadata["urls"] = {
                "Repository": base,
                "Documentation": f"{base}/blob/HEAD/docs/configuration.md",
                "Changelog": f"{base}/blob/HEAD/CHANGELOG.md",
            }
            text = _PICTURE.sub(rf"\g<1>{base}/raw/HEAD/", text)
            text = _LINK.sub(rf"\g<1>{base}/blob/HEAD/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
