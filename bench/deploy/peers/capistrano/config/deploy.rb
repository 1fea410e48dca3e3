# The same steps with Capistrano. BENCH_HOSTS (the first one migrates and runs beat), BENCH_SSH_CONFIG and
# BENCH_REPOSITORY come from the benchmark.
lock "~> 3.17"
set :application, "shop"
set :repo_url, ENV.fetch("BENCH_REPOSITORY")
set :branch, "main"
set :deploy_to, "/srv/peer/capistrano"
set :keep_releases, 3
set :log_level, :info
set :ssh_options, config: ENV.fetch("BENCH_SSH_CONFIG"), verify_host_key: :always

hosts = ENV.fetch("BENCH_HOSTS").split(",")
hosts.each { |host| server host, roles: %w[app], primary: host == hosts.first, beat: host == hosts.first }

manage = "set -a && . /srv/peer/capistrano.env && /srv/peer/venv/bin/python manage.py"

namespace :deploy do
  after :updated, :build do
    on roles(:app) do
      within release_path do
        execute "/srv/peer/venv/bin/pip", "install -q -r", release_path.join("requirements.txt")
        execute "cd #{release_path} && #{manage} collectstatic --noinput"
      end
    end
    on primary(:app) do
      execute "cd #{release_path} && #{manage} migrate --noinput"
    end
  end

  after :publishing, :restart do
    on roles(:app) do |host|
      units = %w[web worker] + (host.properties.beat ? %w[beat] : [])
      execute :sudo, "systemctl restart", *units.map { |unit| "peer-#{unit}@capistrano" }
    end
  end
end
