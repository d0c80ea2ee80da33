"""Requests → an alert's photos, their heat maps and the photos of similar goods."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from streams.console.web.requests import PartsDep, UserDep
from streams.console.web.view import photo_of
from streams.evidence.photos import NoPhoto

router: Final = APIRouter(prefix="/alerts/{case_id}/items/{number}")


@router.get("/photos/{place}")
async def photo(parts: PartsDep, _: UserDep, case_id: str, number: int, place: int) -> Response:
    """Send a declared photo."""
    alert = await asyncio.to_thread(parts.store.alert, case_id)
    items = alert.items if alert else ()
    uris = next((item.images for item in items if item.sequence_number == number), ())
    return await _picture(uris, place, parts.pictures.photo, "image/jpeg")


@router.get("/heat-maps/{place}")
async def heat_map(parts: PartsDep, _: UserDep, case_id: str, number: int, place: int) -> Response:
    """Send a photo's heat map."""
    explanation = await asyncio.to_thread(parts.store.explanation, case_id)
    items = explanation.items if explanation else ()
    uris = next((item.heat_maps for item in items if item.sequence_number == number), ())
    return await _picture(uris, place, parts.pictures.heat_map, "image/png")


@router.get("/similar/{place}")
async def similar(parts: PartsDep, _: UserDep, case_id: str, number: int, place: int) -> Response:
    """Send the photo of similar goods."""
    explanation = await asyncio.to_thread(parts.store.explanation, case_id)
    items = explanation.items if explanation else ()
    goods = next((item.similar_goods for item in items if item.sequence_number == number), ())
    uris = tuple(photo_of(past) for past in goods)
    return await _picture(uris, place, parts.pictures.photo, "image/jpeg")


async def _picture(
    uris: tuple[str, ...],
    place: int,
    fetch: Callable[[str], Awaitable[bytes | NoPhoto]],
    media_type: str,
) -> Response:
    """Send the picture at a place of an event's own list: no reference comes from the browser."""
    if not 0 <= place < len(uris) or not uris[place]:
        return Response("No such picture.\n", 404, media_type="text/plain")
    picture = await fetch(uris[place])
    if isinstance(picture, NoPhoto):
        return Response(f"{picture.reason}\n", 404, media_type="text/plain")
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(picture, media_type=media_type, headers=headers)
