# Homebrew's formula. build/release.py puts the version and the checksums in, for muxi-ai/homebrew-tap.
class MuxiServer < Formula
  desc "Deploys, supervises and proxies AI agent services on a machine of your own"
  homepage "https://muxi.org"
  version "{version}"
  license "Elastic-2.0"

  on_macos do
    on_arm do
      url "https://github.com/muxi-ai/server/releases/download/v{version}/muxi-server-darwin-arm64"
      sha256 "{darwin-arm64}"
    end
    on_intel do
      url "https://github.com/muxi-ai/server/releases/download/v{version}/muxi-server-darwin-amd64"
      sha256 "{darwin-amd64}"
    end
  end

  on_linux do
    on_arm do
      url "https://github.com/muxi-ai/server/releases/download/v{version}/muxi-server-linux-arm64"
      sha256 "{linux-arm64}"
    end
    on_intel do
      url "https://github.com/muxi-ai/server/releases/download/v{version}/muxi-server-linux-amd64"
      sha256 "{linux-amd64}"
    end
  end

  def install
    bin.install Dir["muxi-server-*"].first => "muxi-server"
  end

  service do
    run [opt_bin/"muxi-server", "start"]
    keep_alive true
    log_path var/"log/muxi-server.log"
    error_log_path var/"log/muxi-server.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/muxi-server version")
  end
end
