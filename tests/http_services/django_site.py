"""A site of Django with two pages, imported by those tests alone that serve it."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

__all__ = ["get_asgi_application", "get_wsgi_application"]


def home(request):
    return HttpResponse("served")


def login(request):
    return HttpResponse(status=int(request.GET["status"]))


urlpatterns = [path("", home), path("login", login)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
