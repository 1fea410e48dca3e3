"""`hostwright init`: what a Django project's files say of it, and the deploy/ that is written from that."""
