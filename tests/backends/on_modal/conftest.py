"""Modal's servers, a stand-in, with the app of ``modal_deploy.py`` on them, and the package's own client."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import modal
import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.on_modal import follow, worker
from tests.backends.on_modal.fake_modal import FakeModal, ThreadContainer


@pytest.fixture(scope="module")
def environment():
    """The variables that an app without a GPU is deployed with, and short waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_MODAL_GPU", "")
        patch.setenv("DIFFATLAS_MODAL_PAGE", "public")
        patch.setenv("MODAL_TOKEN_ID", "ak-test")
        patch.setenv("MODAL_TOKEN_SECRET", "as-test")
        patch.setattr(worker, "LOOK", 0.02)
        patch.setattr(worker, "AGAIN", 0.02)
        patch.setattr(follow, "LOOK", 0.2)
        patch.setattr(follow, "AGAIN", 0.05)
        yield patch


@pytest.fixture(scope="module")
def fake(environment):
    """Modal's servers."""
    served = FakeModal()
    environment.setenv("MODAL_SERVER_URL", served.url)
    modal.client.Client._set_env_client(None)
    yield served
    served.close()
    modal.client.Client._set_env_client(None)


@pytest.fixture(scope="module")
def deployed(fake):
    """The module `modal_deploy`, read with these variables."""
    sys.modules.pop("modal_deploy", None)
    yield importlib.import_module("modal_deploy")
    sys.modules.pop("modal_deploy")


@pytest.fixture(scope="module")
def container(fake, deployed):
    """A container of each class, on threads of this process; that with the "GPU"."""
    ThreadContainer(fake, "Facts", deployed.Facts())
    return ThreadContainer(fake, "Gpu", deployed.Gpu())


@pytest.fixture(scope="module")
def far(container):
    return open_backend("modal")


@pytest.fixture(scope="module")
def here():
    return LocalBackend(device="cpu")


@pytest.fixture
def lone(fake, container):
    """Modal without a container that has a GPU, but for those that the test starts (``start``)."""
    container.rests, started = True, []

    def start(local):
        started.append(ThreadContainer(fake, "Gpu", SimpleNamespace(run=SimpleNamespace(local=local))))
        return started[-1]

    yield SimpleNamespace(start=start)
    for one in started:
        one.rests = True
    container.rests, fake.hands_on, fake.refuses = False, False, None
