"""What every member of `cnf` must do. A method's own tests inherit from `ConfirmationMethodContract`."""

from abc import ABC, abstractmethod

import pytest

from sidecar.decision.confirmation.method import ConfirmationMethod
from sidecar.decision.denial import Denied, Reason, shape
from sidecar.decision.request import Presenter
from sidecar.decision.strict import Malformed


class ConfirmationMethodContract(ABC):
    """The fixtures say what is right and wrong for one method."""

    @abstractmethod
    def method(self) -> ConfirmationMethod: ...

    @abstractmethod
    def rightful(self) -> tuple[object, Presenter]:
        """A value as a token has it, and a presenter who holds the key."""

    @abstractmethod
    def stranger(self) -> Presenter:
        """A presenter who holds another key."""

    @abstractmethod
    def nobody(self) -> Presenter:
        """A presenter who proved nothing."""

    @abstractmethod
    def malformed(self) -> list[object]:
        """Values that must not parse."""

    def test_holder_of_the_key_confirms(self) -> None:
        value, holder = self.rightful()
        method = self.method()
        assert method.confirm(method.parse(value), holder) == method.member

    def test_holder_of_another_key_does_not(self) -> None:
        method = self.method()
        with pytest.raises(Denied) as caught:
            method.confirm(method.parse(self.rightful()[0]), self.stranger())
        assert caught.value.reason is Reason.BINDING_MISMATCH

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
