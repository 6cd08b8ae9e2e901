"""What every member of `cnf` must do. A method's own tests inherit from `ConfirmationMethodContract`."""

import json
from abc import ABC, abstractmethod

import pytest

from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.confirmation.method import ConfirmationMethod
from sidecar.decision.denial import Denied, Reason, shape
from sidecar.decision.presentation import Presentation
from sidecar.decision.strict import Malformed
from sidecar.telemetry.access import connection_members


class ConfirmationMethodContract(ABC):
    """The fixtures say what is right and wrong for one method."""

    mismatch = Reason.BINDING_MISMATCH
    """Why a stranger is refused."""

    @abstractmethod
    def method(self) -> ConfirmationMethod: ...

    @abstractmethod
    def rightful(self) -> tuple[object, Presentation]:
        """A value as a token has it, and a presenter who holds the key."""

    @abstractmethod
    def stranger(self) -> Presentation:
        """A presenter who holds another key."""

    @abstractmethod
    def nobody(self) -> Presentation:
        """A presenter who proved nothing."""

    @abstractmethod
    def malformed(self) -> list[object]:
        """Values that must not parse."""

    def test_holder_of_the_key_confirms(self) -> None:
        value, holder = self.rightful()
        method = self.method()
        assert method.confirm(method.parse(value), holder).member == method.member

    def test_holder_of_another_key_does_not(self) -> None:
        method = self.method()
        with pytest.raises(Denied) as caught:
            method.confirm(method.parse(self.rightful()[0]), self.stranger())
        assert caught.value.reason is self.mismatch

    def test_presenter_without_proof_does_not(self) -> None:
        method = self.method()
        with pytest.raises(Denied) as caught:
            method.confirm(method.parse(self.rightful()[0]), self.nobody())
        assert shape(caught.value.reason).status == 401

    def test_malformed_values_do_not_parse(self) -> None:
        method = self.method()
        for value in self.malformed():
            with pytest.raises(Malformed):
                method.parse(value)

    def test_value_of_any_other_type_does_not_parse(self) -> None:
        method = self.method()
        for value in (None, True, 1, 1.5, [], {}, [self.rightful()[0]], {"value": self.rightful()[0]}):
            with pytest.raises(Malformed):
                method.parse(value)

    def test_method_says_what_it_expects(self) -> None:
        assert self.method().member
        assert self.method().expected
        assert self.method().clause.startswith("RFC ")
        assert self.method().scheme
        assert self.method().metadata({self.method().scheme}, {"ES256"})

    def test_every_refusal_of_its_own_has_words_for_the_client(self) -> None:
        method = self.method()
        for presentation in (self.stranger(), self.nobody()):
            with pytest.raises(Denied) as caught:
                method.confirm(method.parse(self.rightful()[0]), presentation)
            assert DESCRIPTIONS[caught.value.reason] == method.reasons[caught.value.reason]

    def test_record_is_members_of_json_and_tells_again_what_was_bound(self) -> None:
        value, holder = self.rightful()
        method = self.method()
        digest = method.parse(value)
        line = json.loads(f"{{{method.record(digest)}{self.connection(holder)}}}")
        assert value in line.values()
        assert method.held(line, ()) is True
        assert method.holds(digest, holder.presenter, ()) is True
        assert method.held(json.loads(f'{{{method.record(None)}"a":1}}'), ()) is None

    def connection(self, presentation: Presentation) -> str:
        return connection_members(presentation.presenter).rstrip(",")
