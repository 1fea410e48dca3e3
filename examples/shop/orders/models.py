from django.db import models


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    customer = models.CharField(max_length=100)
    cents = models.PositiveIntegerField(default=0)
