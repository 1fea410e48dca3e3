from django.db import models


class Message(models.Model):
    """A task that is to be sent: written with the data it belongs to, so that a broker that is down loses nothing."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    task = models.CharField(max_length=200)
    arguments = models.TextField(default="[]")
