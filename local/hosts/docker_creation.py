"""Creates containers in the Docker Engine; failures have ECS's wording."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

import docker
import requests

from local.hosts.base import CannotStartError, ContainerSpec
from local.hosts.docker_requests import create_request
from local.hosts.image_builder import ImageBuilder
from local.hosts.images import cannot_pull

T = TypeVar("T")


class Reach(Protocol):
    """Makes a call to the Engine, and repeats it while the Engine restarts."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class ContainerCreation:
    """Creates the containers of one run. Thread-safe."""

    def __init__(
        self, client: docker.APIClient, images: ImageBuilder, network: str, reach: Reach
    ) -> None:
        self._client = client
        self._images = images
        self._network = network
        self._reach = reach

    def create(
        self, spec: ContainerSpec, labels: Mapping[str, str], check_up: Callable[[], None]
    ) -> str:
        """The new container's id. Raises CannotStartError, and what `check_up` raises.

        `check_up` is called after the image was built, which takes its time.
        """
        try:
            return self._create(spec, labels, check_up)
        except docker.errors.ImageNotFound as error:
            raise cannot_pull(spec.image, message_of(error)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise CannotStartError(
                f"CannotCreateContainerError: Error response from daemon: {message_of(error)}"
            ) from error

    def _create(
        self, spec: ContainerSpec, labels: Mapping[str, str], check_up: Callable[[], None]
    ) -> str:
        """An image that was removed meanwhile is built again, once."""
        for last_try in (False, True):
            image = self._reach(lambda: self._images.image(spec.image))
            check_up()
            try:
                declared = self._declared_volumes(image) if spec.volumes else frozenset()
                request = create_request(spec, image, self._network, labels, declared)
                answer = self._reach(partial(self._client.create_container_from_config, request))
                return str(answer["Id"])
            except docker.errors.ImageNotFound:
                self._images.forget(spec.image)
                if last_try:
                    raise
        raise AssertionError("the last try returns or raises")

    def _declared_volumes(self, image: str) -> frozenset[str]:
        """The paths that the image's VOLUME instructions name."""
        inspected = self._reach(partial(self._client.inspect_image, image))
        return frozenset((inspected.get("Config") or {}).get("Volumes") or ())


def message_of(error: Exception) -> str:
    """The Engine's message."""
    return str(getattr(error, "explanation", None) or error)
