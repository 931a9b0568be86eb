<#
.SYNOPSIS
Installs muxi-server for this user: the file for this machine, its checksum verified. Sends nothing anywhere.
.EXAMPLE
irm https://muxi.org/install.ps1 | iex
.EXAMPLE
.\install.ps1 -Version 1.20261122.0 -From D:\releases\muxi
.NOTES
Written for Windows PowerShell 5.1 and newer. Not tried on a machine yet, and read by no test.
#>
[CmdletBinding()]
param(
    [string] $Version = "",
    # A directory with the files of a release, or the address of a list of releases.
    [string] $From = "",
    [switch] $NonInteractive,
    [switch] $DryRun,
    [switch] $Help
)

Set-StrictMode -Version Latest
$ErrorActionPreference = "Stop"
$ProgressPreference = "SilentlyContinue" # its drawing slows a download tenfold in 5.1

$Releases = if ($env:MUXI_RELEASES) { $env:MUXI_RELEASES } else { "https://github.com/muxi-ai/server/releases" }

function Stop-Installation([string] $What, [string] $Cure) {
    [Console]::Error.WriteLine("Error: $What")
    if ($Cure) { [Console]::Error.WriteLine("What to do: $Cure") }
    exit 1
}

function Get-FileName {
    $processor = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
    switch ($processor) {
        "AMD64" { return "muxi-server-windows-amd64.exe" }
        "ARM64" { return "muxi-server-windows-arm64.exe" }
        default { Stop-Installation "There is no muxi-server for $processor." "It runs on AMD64 and ARM64." }
    }
}

function Get-Address([string] $Base, [string] $Name) {
    if ($Version) { return "$Base/download/v$Version/$Name" }
    return "$Base/latest/download/$Name"
}

function Get-ReleaseFile([string] $Name, [string] $Target) {
    if ($From -and $From -notmatch "://") {
        $source = Join-Path $From $Name
        if (-not (Test-Path -LiteralPath $source -PathType Leaf)) {
            Stop-Installation "$From has no file $Name." "Give the directory of a release."
        }
        Copy-Item -LiteralPath $source -Destination $Target
        return
    }
    $base = if ($From) { $From } else { $Releases }
    $address = Get-Address $base $Name
    try {
        [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
        Invoke-WebRequest -UseBasicParsing -Uri $address -OutFile $Target
    } catch {
        Stop-Installation "$address could not be downloaded." "Check the network and the version, or give -From a directory."
    }
}

function Test-Checksum([string] $File, [string] $Name, [string] $Sums) {
    $wanted = Get-Content -LiteralPath $Sums |
        Where-Object { $_ -match "^([0-9a-f]{64}) [ *]$([regex]::Escape($Name))$" } |
        ForEach-Object { $Matches[1] }
    if (-not $wanted) { Stop-Installation "The release has no checksum for $Name." "Choose another -Version." }
    $found = (Get-FileHash -LiteralPath $File -Algorithm SHA256).Hash.ToLowerInvariant()
    if ($found -ne $wanted) { Stop-Installation "$Name is damaged: its checksum is another one." "Try again." }
}

function Add-ToPath([string] $Directory) {
    $path = [Environment]::GetEnvironmentVariable("Path", "User")
    if ($path -and ($path.Split(";") -contains $Directory)) { return }
    if (-not $NonInteractive -and [Environment]::UserInteractive) {
        $answer = Read-Host "Add $Directory to your PATH? [y/N]"
        if ($answer -match "^(y|yes)$") {
            [Environment]::SetEnvironmentVariable("Path", "$path;$Directory".TrimStart(";"), "User")
            Write-Output "Added. It holds in new windows."
            return
        }
    }
    Write-Output "$Directory is not on your PATH."
}

if ($Help) {
    Get-Help $PSCommandPath -Detailed
    exit 0
}
$Version = $Version -replace "^v", ""
if ($Version -and $Version -notmatch "^[0-9.]+$") {
    Stop-Installation "'$Version' is not a version." "Give one such as 1.20261122.0."
}
if (-not $env:LOCALAPPDATA) { Stop-Installation "LOCALAPPDATA is not set, so your directory is unknown." "Set it." }
$directory = Join-Path $env:LOCALAPPDATA "MUXI\bin"
$name = Get-FileName
if ($DryRun) {
    $what = if ($Version) { $Version } else { "latest" }
    $where = if ($From) { $From } else { $Releases }
    Write-Output "Would install $name, version $what, from $where, into $directory. Nothing was done."
    exit 0
}
$work = Join-Path ([IO.Path]::GetTempPath()) ("muxi-server-" + [Guid]::NewGuid().ToString("N"))
try {
    New-Item -ItemType Directory -Path $work | Out-Null
    New-Item -ItemType Directory -Force -Path $directory | Out-Null
    $sums = Join-Path $work "SHA256SUMS"
    $file = Join-Path $work $name
    Get-ReleaseFile "SHA256SUMS" $sums
    Get-ReleaseFile $name $file
    Test-Checksum $file $name $sums
    $target = Join-Path $directory "muxi-server.exe"
    # A program that runs can't be overwritten on Windows, but it can be moved away.
    if (Test-Path -LiteralPath $target) { Move-Item -Force -LiteralPath $target -Destination "$target.old" }
    Move-Item -LiteralPath $file -Destination $target
    $told = & $target version | Select-Object -First 1
    Write-Output "Installed ${target}: $told"
    Add-ToPath $directory
    Write-Output "Next: muxi-server init, then muxi-server start."
} finally {
    Remove-Item -Recurse -Force -LiteralPath $work -ErrorAction SilentlyContinue
}
