from django.urls import path

from orders import views

urlpatterns = [
    path("", views.index),
    path("healthz", views.health),
    path("api/orders", views.orders),
]
