"""Special tokens as attributes of a tokenizer: `pad_token`, `pad_token_id`, and so on for each role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automodels.errors import InputError
from automodels.plugins.scan import shown

if TYPE_CHECKING:
    from automodels.text.tokenizer import Tokenizer


class SpecialToken:
    """The token of a role, None when the checkpoint names none; another token of the vocabulary may be assigned."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, tokenizer: Tokenizer | None, owner: type | None = None) -> str | None:
        return None if tokenizer is None else tokenizer.special_tokens.get(self.role)

    def __set__(self, tokenizer: Tokenizer, token: object) -> None:
        if token is None:
            tokenizer.special_tokens.pop(self.role, None)
            return
        if not isinstance(token, str) or tokenizer.backend.token_to_id(token) is None:
            raise InputError(f"{self.role} cannot be {shown(token)}: it is not a token of the vocabulary.")
        tokenizer.special_tokens[self.role] = token


class SpecialTokenId:
    """The id of the token of a role, None when there is none."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name.removesuffix("_id")

    def __get__(self, tokenizer: Tokenizer | None, owner: type | None = None) -> int | None:
        if tokenizer is None or self.role not in tokenizer.special_tokens:
            return None
        return tokenizer.backend.token_to_id(tokenizer.special_tokens[self.role])

    def __set__(self, tokenizer: Tokenizer, value: object) -> None:
        raise AttributeError(f"{self.role}_id follows {self.role}; assign the token instead.")
