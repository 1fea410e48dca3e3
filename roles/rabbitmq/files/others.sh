# Who uses a RabbitMQ that this role has not set up, and where it listens; nothing where nobody does.
set -e
command -v rabbitmqctl > /dev/null || exit 0
! grep -qs 'BEGIN hostwright' /etc/rabbitmq/rabbitmq-env.conf || exit 0
# Newer ones print a heading.
users=$(rabbitmqctl -q list_users | cut -f1 | grep -vx -e user -e guest) || true
vhosts=$(rabbitmqctl -q list_vhosts name | grep -vx -e name -e /) || true
queues=$(rabbitmqctl -q list_queues name | grep -vx name) || true
[ -n "$users$vhosts$queues" ] || exit 0
echo "used=$(echo $users $vhosts $queues)"
rabbitmqctl -q list_users | cut -f1 | sed -n 's/^guest$/guest=yes/p'
# Not those of clustering, management and TLS, which stay.
ss -ltnp | awk '/"beam/ { print "listens=" $4 }' | grep -Ev ':(25672|15672|5671)$' || true
