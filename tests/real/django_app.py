"""An ordinary API on Django: echoes what the framework makes of a request."""

from collections.abc import Callable

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import re_path

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[], SECRET_KEY="not used", USE_TZ=True
)
django.setup()


def echo(request: HttpRequest) -> JsonResponse:
    """`environ` as WSGI has it, `headers` as Django spells them."""
    environ = {name: value for name, value in request.META.items() if isinstance(value, str)}
    return JsonResponse({"environ": environ, "headers": dict(request.headers)})


urlpatterns = [re_path(r"^", echo)]
app: Callable[..., object] = get_wsgi_application()
