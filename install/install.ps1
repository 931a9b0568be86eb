<#
.SYNOPSIS
Installs muxi-server for this user: the file for this machine, its checksum verified. Sends nothing anywhere.
.EXAMPLE
irm https://muxi.org/install.ps1 | iex
.EXAMPLE
.\install.ps1 -Version 1.20261122.0 -From D:\releases\muxi
.NOTES
Written for Windows PowerShell 5.1 and newer. Never run as yet: its form is tested, not what it does.
#>
[CmdletBinding()]
param(
    # This one, such as 1.20261122.0, instead of the latest.
    [string] $Version = "",
    # A directory with the files of a release, or the address of a list of releases.
    [string] $From = "",
    # Ask nothing.
    [switch] $NonInteractive,
    # Say what would be done, and do nothing.
    [switch] $DryRun,
    [switch] $Help
)

# Everything is in functions: run by iex, it must neither change the caller's settings nor end the caller.

# One sentence of what is wrong, one of what to do, and the end of the installation.
function Stop-Installation([string] $What, [string] $Cure) {
    throw [InvalidOperationException]::new("$What`nWhat to do: $Cure")
}

function Get-FileName {
    $processor = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
    switch ($processor) {
        "AMD64" { return "muxi-server-windows-amd64.exe" }
        "ARM64" { return "muxi-server-windows-arm64.exe" }
        default { Stop-Installation "There is no muxi-server for $processor." "It runs on AMD64 and ARM64." }
    }
}

function Get-Address([string] $Name, [string] $Version, [string] $From) {
    $base = if ($From) { $From } elseif ($env:MUXI_RELEASES) { $env:MUXI_RELEASES } else { "https://github.com/muxi-ai/server/releases" }
    $base = $base.TrimEnd("/")
    if ($Version) { return "$base/download/v$Version/$Name" }
    return "$base/latest/download/$Name"
}

function Save-ReleaseFile([string] $Name, [string] $Target, [string] $Version, [string] $From) {
    if ($From -and $From -notmatch "://") {
        $source = Join-Path $From $Name
        if (-not (Test-Path -LiteralPath $source -PathType Leaf)) {
            Stop-Installation "$From has no file $Name." "Give the directory of a release."
        }
        Copy-Item -LiteralPath $source -Destination $Target
        return
    }
    $address = Get-Address $Name $Version $From
    try {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
        Invoke-WebRequest -UseBasicParsing -Uri $address -OutFile $Target
    } catch {
        Stop-Installation "$address could not be downloaded: $($_.Exception.Message)" "Check the network, the version and the room on the disk, or give -From a directory."
    }
}

function Assert-Checksum([string] $File, [string] $Name, [string] $Sums) {
    $wanted = Get-Content -LiteralPath $Sums |
        Where-Object { $_ -cmatch "^([0-9a-f]{64}) [ *]$([regex]::Escape($Name))$" } |
        ForEach-Object { $Matches[1] } |
        Select-Object -First 1
    if (-not $wanted) { Stop-Installation "The release has no checksum for $Name." "Choose another -Version." }
    $found = (Get-FileHash -LiteralPath $File -Algorithm SHA256).Hash.ToLowerInvariant()
    if ($found -ne $wanted) { Stop-Installation "$Name is damaged: its checksum is another one." "Try again." }
}

# Put the file in its place. A program that runs can't be overwritten on Windows, but it can be moved away.
function Move-Program([string] $File, [string] $Target) {
    $old = "$Target.old"
    $there = Test-Path -LiteralPath $Target
    if ($there) { Move-Item -Force -LiteralPath $Target -Destination $old }
    try {
        Move-Item -LiteralPath $File -Destination $Target
    } catch {
        if ($there) { Move-Item -Force -LiteralPath $old -Destination $Target }
        throw
    }
}

function Add-ToPath([string] $Directory, [bool] $Ask) {
    $path = [Environment]::GetEnvironmentVariable("Path", "User")
    if ($path -and ($path.Split(";") -contains $Directory)) { return }
    if ($Ask -and [Environment]::UserInteractive) {
        $answer = Read-Host "Add $Directory to your PATH? [y/N]"
        if ($answer -match "^(y|yes)$") {
            [Environment]::SetEnvironmentVariable("Path", "$path;$Directory".TrimStart(";"), "User")
            Write-Output "Added. It holds in new windows."
            return
        }
    }
    Write-Output "$Directory is not on your PATH."
}

function Install-MuxiServer([string] $Version, [string] $From, [bool] $Ask, [bool] $DryRun) {
    Set-StrictMode -Version Latest
    $ErrorActionPreference = "Stop"
    $ProgressPreference = "SilentlyContinue" # its drawing slows a download tenfold in 5.1

    $Version = $Version -replace "^v", ""
    if ($Version -and $Version -notmatch "^[0-9.]+$") {
        Stop-Installation "'$Version' is not a version." "Give one such as 1.20261122.0."
    }
    if (-not $env:LOCALAPPDATA) { Stop-Installation "LOCALAPPDATA is not set, so your directory is unknown." "Set it." }
    $directory = Join-Path $env:LOCALAPPDATA "MUXI\bin"
    $name = Get-FileName
    if ($DryRun) {
        $what = if ($Version) { "version $Version" } else { "the latest version" }
        $where = if ($From) { $From } else { Get-Address $name $Version "" }
        Write-Output "Would install $name, $what, from $where, into $directory. Nothing was done."
        return
    }
    # Beside its place, so that it gets there in one step, and a full disk shows before.
    $work = Join-Path $directory (".muxi-server-" + [Guid]::NewGuid().ToString("N"))
    try {
        New-Item -ItemType Directory -Force -Path $work | Out-Null
        $sums = Join-Path $work "SHA256SUMS"
        $file = Join-Path $work $name
        Save-ReleaseFile "SHA256SUMS" $sums $Version $From
        Save-ReleaseFile $name $file $Version $From
        Assert-Checksum $file $name $sums
        $told = & $file version | Select-Object -First 1
        if (-not $told) { Stop-Installation "The file does not run on this machine." "Please report it." }
        $target = Join-Path $directory "muxi-server.exe"
        Move-Program $file $target
        Write-Output "Installed ${target}: $told"
        Add-ToPath $directory $Ask
        Write-Output "Next: muxi-server init, then muxi-server start."
    } finally {
        Remove-Item -Recurse -Force -LiteralPath $work -ErrorAction SilentlyContinue
    }
}

if ($Help) {
    Get-Help $PSCommandPath -Detailed
    return
}
try {
    Install-MuxiServer $Version $From (-not $NonInteractive) ([bool] $DryRun)
} catch {
    # What we did not foresee (no room, no permission, a program that is locked) says what it is in a sentence, too.
    $sentence = $_.Exception.Message
    if ($sentence -notmatch "What to do: ") {
        $sentence += "`nWhat to do: see whether there is room on the disk, and whether you may write to $env:LOCALAPPDATA\MUXI\bin."
    }
    [Console]::Error.WriteLine("Error: $sentence")
    if ($PSCommandPath) { exit 1 } # as a file, not by iex: that would close the caller's window
}
