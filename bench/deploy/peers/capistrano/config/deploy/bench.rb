# There is one stage; deploy.rb names its hosts.
