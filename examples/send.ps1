# One mail by PowerShell, through .NET's System.Net.Mail, with STARTTLS and a login: send.ps1 [HOST [PORT]]
# Send-MailMessage is the same SmtpClient; in its terms the mail below is
#   Send-MailMessage -SmtpServer $Server -Port $Port -UseSsl -Credential (Get-Credential) -From ... -To ... -Subject ...
param(
    [string] $Server = '127.0.0.1',
    [int] $Port = 2525
)
$ErrorActionPreference = 'Stop'

# relayprobe's certificate is its own, so it is not checked in this session; towards Office 365, leave these lines out.
$check = [System.Net.ServicePointManager]::ServerCertificateValidationCallback
[System.Net.ServicePointManager]::ServerCertificateValidationCallback = { $true }

$mail = New-Object System.Net.Mail.MailMessage 'scanner@contoso.com', 'anna@contoso.com', 'Test by PowerShell', 'It works.'
$smtp = New-Object System.Net.Mail.SmtpClient $Server, $Port
try {
    $smtp.EnableSsl = $true # STARTTLS: this client does no TLS on connect
    $smtp.Credentials = New-Object System.Net.NetworkCredential 'scanner@contoso.com', 'not-a-password'
    $smtp.Send($mail)
}
finally {
    [System.Net.ServicePointManager]::ServerCertificateValidationCallback = $check
    $mail.Dispose()
    $smtp.Dispose() # says QUIT
}
