"""LangChain's own suites for chat models, on ChatR4 with a scripted engine. docs/models.md lists what they
skip, and why."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from PIL import Image

from r4agent.policy.chat import ChatR4

from .scripted_engine import ScriptedEngine, bare_checkpoint, obliging


class _Ours:
    """What the suites are told of the model."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _engine(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder: Path = tmp_path_factory.mktemp("tiny") / "qwen3_vl"
        cls.engine = ScriptedEngine(bare_checkpoint("qwen3_vl", folder), obliging)  # type: ignore[attr-defined]

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatR4

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny", "engine": self.engine}  # type: ignore[attr-defined]

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return False  # addresses are not fetched

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False  # an engine runs one model

    @property
    def supports_image_tool_message(self) -> bool:
        return True


class TestUnit(_Ours, ChatModelUnitTests):
    pass


class TestIntegration(_Ours, ChatModelIntegrationTests):
    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite fetches its picture."""
        png = io.BytesIO()
        Image.new("RGB", (64, 64), "green").save(png, "PNG")
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=png.getvalue()))
