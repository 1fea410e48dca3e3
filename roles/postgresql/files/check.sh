# Whether the server $1, with its postgresql.conf $2 and then the settings in the file $3, would start. Status 1, and why, if not.
{ echo "include '$2'"; echo "include '$3'"; } > /run/hostwright-postgresql-check.conf
"/usr/lib/postgresql/$1/bin/postgres" -C port --config-file=/run/hostwright-postgresql-check.conf > /dev/null
status=$?
rm /run/hostwright-postgresql-check.conf
exit $status
