"""Sends what is known of each frame to Kafka, at least once."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any, Protocol, Self

from rtseg.driving.schema import message
from rtseg.driving.state import Scene
from rtseg.errors import ConfigError, DependencyMissing, SinkFailed
from rtseg.types import Output


class Producer(Protocol):
    """What is used of `confluent_kafka.Producer`."""

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any) -> None:
        """Queue a message; BufferError where the queue is full."""

    def poll(self, timeout: float) -> int:
        """Call what waits for news of messages."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait for all messages; how many are left."""
        ...


class Kafka:
    """A message a frame: the key is `STREAM:PTS`, the value JSON, as `rtseg.driving.schema.message` makes it.

    servers: HOST:PORT, several joined by commas. stream: the first half of each message's id. settings: more of
    librdkafka's, by its names. timeout: seconds that a message may wait, and that closing waits for what is on its way.

    At least once: a message is repeated until all replicas have it (`acks=all`, idempotent, so a repeat of this process
    makes no second one, and messages stay in order). A run that is begun again sends all of its frames again; whoever
    reads keeps one message an id. A message that cannot be delivered ends the sink with SinkFailed: no gap is silent.
    """

    def __init__(
        self,
        *,
        servers: str,
        topic: str = "rtseg",
        stream: str = "",
        timeout: float = 30.0,
        settings: Mapping[str, str | int | float | bool] | None = None,
        producer: Producer | None = None,
    ) -> None:
        self.delivered = 0
        self._topic, self._stream, self._timeout, self._servers = topic, stream, timeout, servers
        self._failed: str | None = None
        self._lock = threading.Lock()
        self._closed = False
        wanted = {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": int(timeout * 1000),
            "linger.ms": 50,
            "compression.type": "zstd",
            **(settings or {}),
        }
        self._producer = _producer(wanted) if producer is None else producer

    def write(self, output: Output, /) -> None:
        """Hand a frame's message over; waits where the queue is full."""
        self._check()
        if self._closed:
            raise SinkFailed(f"the topic {self._topic!r} is closed: nothing more can be sent to it")
        value = message(output, Scene.read(output.observations), self._stream)
        key = f"{self._stream}:{output.frame.pts}".encode()
        data = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        waited = 0.0
        while True:
            try:
                self._producer.produce(self._topic, data, key, on_delivery=self._delivered)
                break
            except BufferError as error:  # as many as the queue takes are on their way
                if waited >= self._timeout:
                    raise self._failure("takes nothing") from error
                self._producer.poll(0.2)
                waited += 0.2
                self._check()
        self._producer.poll(0)

    def close(self) -> None:
        """Wait until all of it is delivered; SinkFailed where it is not."""
        if self._closed:
            return
        self._closed = True
        left = self._producer.flush(self._timeout + 1)
        self._check()
        if left:
            raise self._failure(f"has not taken {left} messages")

    def _delivered(self, error: object, _: object) -> None:
        with self._lock:
            if error is None:
                self.delivered += 1
            else:
                self._failed = self._failed or str(error)

    def _check(self) -> None:
        if self._failed is not None:
            self._closed = True
            raise self._failure(f"did not take a message ({self._failed})")

    def _failure(self, what: str) -> SinkFailed:
        return SinkFailed(
            f"Kafka at {self._servers} {what}: see that a broker runs there; frames are sent again by a new run"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _producer(settings: Mapping[str, Any]) -> Producer:
    try:
        from confluent_kafka import KafkaException
        from confluent_kafka import Producer as Made
    except ImportError as error:
        raise DependencyMissing(f"{error}: pip install 'rtseg[kafka]'") from error
    try:
        # librdkafka writes of every lost connection; what matters comes as an error.
        made: Producer = Made(dict(settings), logger=logging.Logger("kafka", level=logging.CRITICAL + 1))
    except (KafkaException, TypeError, ValueError) as error:
        raise ConfigError(f"Kafka does not take these options: {error}") from error
    return made
