"""Reads what a request brings: so many bytes, in so much time, whatever its sender says about its length."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

READ = 10.0  # seconds in which a body is there
MAX_FORM = 8 << 10  # bytes
MAX_FIELDS = 20
CLOSE = {"connection": "close"}  # what is left of it is not waited for


async def body_of(request: Request, most: int) -> bytes:
    """Return the body. Raises HTTPException: 413 for more than `most` bytes, 408 for one that takes too long, 400."""
    found = bytearray()
    try:
        async with asyncio.timeout(READ):
            async for chunk in request.stream():
                found += chunk
                if len(found) > most:
                    raise HTTPException(413, f"the body is larger than {most} bytes", CLOSE)
    except TimeoutError:
        raise HTTPException(408, f"the body was not there in {READ:g} s", CLOSE) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended before its end", CLOSE) from None
    return bytes(found)


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first of each name. Raises HTTPException, 400 too for what is none."""
    try:
        fields = parse_qs((await body_of(request, MAX_FORM)).decode(), max_num_fields=MAX_FIELDS)
    except ValueError:
        raise HTTPException(400, "expected a form") from None
    return {name: values[0].strip() for name, values in fields.items()}
