# What Homebrew gives to a formula, as far as ours asks for it; tells what came of it as JSON.
require "fileutils"
require "json"

class String
  def /(other) = File.join(self, other)
end

class Bin < String
  def install(files)
    files.each { |from, to| FileUtils.install(from, self / to, mode: 0o755) }
  end
end

class Formula
  FOUND = {}
  FIELDS = {}
  class << self
    %w[desc homepage version license].each { |name| define_method(name) { |text = nil| text ? FIELDS[name] = text : FIELDS[name] } }
    %w[macos linux].each { |name| define_method("on_#{name}") { |&block| @system = name; block.call } }
    %w[arm intel].each { |name| define_method("on_#{name}") { |&block| @processor = name; block.call } }
    def url(text) = FOUND["#{@system}-#{@processor}"] = { url: text }
    def sha256(text) = FOUND["#{@system}-#{@processor}"][:sha256] = text
    def service(&block) = define_method(:service, &block)
    def test(&block) = define_method(:test, &block)
  end
  attr_reader :bin, :commands

  def initialize(bin) = (@bin, @commands = Bin.new(bin), [])
  def opt_bin = "/opt/bin"
  def var = "/var"
  def run(command) = @commands << command
  def keep_alive(_) = nil
  def log_path(_) = nil
  def error_log_path(_) = nil
  def version = FIELDS["version"]
  def shell_output(command) = `#{command}`
  def assert_match(wanted, text) = text.include?(wanted) || raise("#{text} is not of version #{wanted}")
end

load ARGV[0]
formula = MuxiServer.new(ARGV[1])
formula.install
formula.service
formula.test
puts JSON.generate({ fields: Formula::FIELDS, found: Formula::FOUND, service: formula.commands })
