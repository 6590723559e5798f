// Scenarios on amqp10, another AMQP 1.0 library for Node.js with another codec.
// usage: node amqp10_client.js SCENARIO HOST PORT ADDRESS [COUNT]; prints one line of JSON and ends, or ends with status 1.
'use strict';
const { Client, Policy } = require('amqp10');

const [scenario, host, port, address, count] = process.argv.slice(2);
const total = Number(count || 1);

function fail(what) {
    console.error(what);
    process.exit(1);
}

// The library counts its outgoing window down and never up again: below zero it fails to encode it.
const ENDLESS = { session: { options: { outgoingWindow: 1000000 } } };

function client(policy) {
    const made = new Client(Policy.merge(ENDLESS, policy || Policy.Default));
    made.on('client:errorReceived', (error) => fail('client ' + JSON.stringify(error)));
    made.on('connection:errorReceived', (error) => fail('connection ' + JSON.stringify(error)));
    return made;
}

async function pair(policy) {
    const ours = client(policy);
    await ours.connect('amqp://' + host + ':' + port);
    const receiver = await ours.createReceiver(address);
    receiver.on('errorReceived', (error) => fail('receiver ' + JSON.stringify(error)));
    const sender = await ours.createSender(address);
    sender.on('errorReceived', (error) => fail('sender ' + JSON.stringify(error)));
    return { ours, receiver, sender };
}

const scenarios = {
    // COUNT messages to itself; each send is resolved by its outcome.
    async exchange() {
        const { ours, receiver, sender } = await pair();
        const bodies = [];
        const all = new Promise((resolve) => receiver.on('message', (message) => {
            bodies.push(message.body.number);
            if (bodies.length === total) resolve();
        }));
        const sends = [];
        for (let number = 0; number < total; number++) {
            sends.push(sender.send({ properties: { messageId: number }, body: { number, text: 'tëxt ✓' } }));
        }
        const outcomes = await Promise.all(sends);
        await all;
        await ours.disconnect();
        return { received: bodies.length, ordered: bodies.every((n, at) => n === at), settled: outcomes.length };
    },

    // A body of COUNT characters, in many frames.
    async large() {
        const { ours, receiver, sender } = await pair();
        const body = 'abcdefg'.repeat(Math.ceil(total / 7)).slice(0, total);
        const got = new Promise((resolve) => receiver.on('message', (message) => resolve(message.body)));
        await sender.send(body);
        const same = (await got) === body;
        await ours.disconnect();
        return { size: total, same };
    },

    // A receiver that rejects: the send must fail.
    async rejected() {
        const ours = client(Policy.Utils.RenewOnSettle(1, 1, Policy.merge({
            receiverLink: { attach: { rcvSettleMode: 1 } },
        }, Policy.Default)));
        await ours.connect('amqp://' + host + ':' + port);
        const receiver = await ours.createReceiver(address);
        receiver.on('message', (message) => receiver.reject(message, 'a bad one'));
        const sender = await ours.createSender(address);
        let error = null;
        try {
            await sender.send('x');
        } catch (e) {
            error = String(e);
        }
        await ours.disconnect();
        return { error };
    },
};

setTimeout(() => fail('nothing for 60 s'), 60000).unref();
if (!scenarios[scenario]) fail('no scenario ' + scenario);
scenarios[scenario]().then((result) => {
    console.log(JSON.stringify(result));
    process.exit(0);
}, (error) => fail(error.stack || error));
