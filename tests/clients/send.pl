# Sends the mail on stdin with Net::SMTP: send.pl PORT none|starttls|implicit HOST SENDER RECIPIENT [MECHANISM USER PASSWORD]
use strict;
use warnings FATAL => 'all';
use Net::SMTP;

my ($port, $tls, $host, $sender, $recipient, $mechanism, $user, $password) = @ARGV;
my @trust = (SSL_verify_mode => 0);
my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Hello => $host, SSL => $tls eq 'implicit', @trust)
    or die "no connection: $@";
$smtp->starttls(@trust) or die $smtp->message if $tls eq 'starttls';
if ($mechanism) {
    require Authen::SASL;
    my $sasl = Authen::SASL->new(mechanism => $mechanism, callback => { user => $user, pass => $password });
    $smtp->auth($sasl) or die $smtp->message;
}
binmode STDIN;
my $message = do { local $/; <STDIN> };
$smtp->mail($sender)    or die $smtp->message;
$smtp->to($recipient)   or die $smtp->message;
$smtp->data($message)   or die $smtp->message;
$smtp->quit;
