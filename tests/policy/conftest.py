"""What the policy's tests share: a callback handler that lets no pixels pass."""

from ..nopixels import no_pixels

__all__ = ["no_pixels"]
