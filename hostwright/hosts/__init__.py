"""What hosts printed before a playbook changes anything, and what follows from it. The filters of playbooks use it."""
