// Sends one mail with nodemailer, by the JSON on stdin: {transport, mail}.
const nodemailer = require("nodemailer");
const told = JSON.parse(require("fs").readFileSync(0, "utf-8"));

const transport = nodemailer.createTransport(told.transport);
transport.sendMail(told.mail).catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
