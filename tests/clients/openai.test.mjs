// SPDX-License-Identifier: Apache-2.0
// The official JavaScript client against `medley serve`; tools/client-tests.sh installs it and says where the servers are (test_openai.py has the names).
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError, RateLimitError, toFile } from 'openai';

const { MEDLEY_URL, MEDLEY_KEYS_URL, MEDLEY_KEY, MEDLEY_REAL_URL } = process.env;
const clientOf = (url, apiKey = 'none', maxRetries = 0) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries, timeout: 120_000 });
const client = clientOf(MEDLEY_URL);
const model = (await client.models.list()).data[0].id;
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Say something.' }];
const chat = (more = {}) => client.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0, ignore_eos: true, ...more });
const complete = (more = {}) => client.completions.create({ model, prompt: 'Once upon', max_tokens: 8, temperature: 0, ignore_eos: true, ...more });
const weather = {
    type: 'function',
    function: {
        name: 'get_weather',
        parameters: {
            type: 'object',
            properties: { city: { type: 'string', enum: ['Paris', 'Rome'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
            required: ['city', 'days'],
            additionalProperties: false,
        },
    },
};
const colour = {
    type: 'object',
    properties: { colour: { type: 'string', enum: ['red', 'green', 'blue'] }, light: { type: 'boolean' } },
    required: ['colour', 'light'],
    additionalProperties: false,
};

test('models', async () => {
    assert.equal((await client.models.retrieve(model)).id, model);
    await assert.rejects(client.models.retrieve('no-such-model'), NotFoundError);
});

test('chat, whole and streamed', async () => {
    const whole = await chat();
    assert.equal(whole.choices[0].finish_reason, 'length');
    assert.equal(whole.usage.completion_tokens, 12);
    let text = '', usage, chunks = 0;
    for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage ?? usage;
        chunks++;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(usage.completion_tokens, 12);
    assert.ok(chunks > 3);
});

test('a stream that is broken off', async () => {
    const stream = await chat({ stream: true, max_tokens: 500 });
    for await (const chunk of stream) {
        assert.equal(chunk.object, 'chat.completion.chunk');
        stream.controller.abort();
        break;
    }
    assert.ok((await chat()).choices.length);
});

test('the streaming helper', async () => {
    const runner = client.chat.completions.stream({ model, messages, max_tokens: 6, temperature: 0 });
    assert.equal(typeof (await runner.finalContent()), 'string');
});

test('n, seed, stop', async () => {
    const several = await chat({ n: 3, temperature: 1, seed: 7 });
    assert.deepEqual(several.choices.map((c) => c.index), [0, 1, 2]);
    assert.deepEqual((await chat({ n: 3, temperature: 1, seed: 7 })).choices, several.choices);
    const text = (await chat({ max_tokens: 24 })).choices[0].message.content;
    const cut = [...text][3];
    const stopped = await chat({ max_tokens: 24, stop: cut });
    assert.equal(stopped.choices[0].finish_reason, 'stop');
    assert.equal(stopped.choices[0].message.content, text.slice(0, text.indexOf(cut)));
});

test('completions: texts, tokens, streams', async () => {
    const one = (await complete()).choices[0].text;
    assert.deepEqual((await complete({ prompt: ['Once upon', 'Once upon'] })).choices.map((c) => c.text), [one, one]);
    let text = '';
    for await (const chunk of await complete({ stream: true })) text += chunk.choices[0]?.text ?? '';
    assert.equal(text, one);
});

test('logprobs', async () => {
    const content = (await chat({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
    assert.equal(content.length, 12);
    for (const t of content) assert.ok(t.logprob <= 0 && t.top_logprobs.length === 2 && t.top_logprobs[0].token === t.token);
    assert.equal((await complete({ logprobs: 1 })).choices[0].logprobs.tokens.length, 8);
});

test('a JSON schema', async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'colour', strict: true, schema: colour } };
    const found = JSON.parse((await chat({ response_format, max_tokens: 200, ignore_eos: false })).choices[0].message.content);
    assert.ok(colour.properties.colour.enum.includes(found.colour) && typeof found.light === 'boolean');
});

test('tools', async () => {
    const ask = { tools: [weather], tool_choice: 'required', max_tokens: 300, ignore_eos: false };
    const choice = (await chat(ask)).choices[0];
    assert.equal(choice.finish_reason, 'tool_calls');
    const [call] = choice.message.tool_calls;
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ['city', 'days']);
    const streamed = await client.chat.completions.stream({ model, messages, temperature: 0, ...ask }).finalMessage();
    assert.equal(streamed.tool_calls[0].function.arguments, call.function.arguments);
    const back = await chat({ messages: [...messages, choice.message, { role: 'tool', tool_call_id: call.id, content: '21 degrees' }], tools: [weather], tool_choice: 'none' });
    assert.ok(back.choices[0].message.content);
});

test('embeddings', async () => {
    const { data } = await client.embeddings.create({ model, input: ['a text', 'another'] });
    const plain = await client.embeddings.create({ model, input: ['a text'], encoding_format: 'float' });
    assert.equal(data.length, 2);
    data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - plain.data[0].embedding[i]) < 1e-6));
});

test('usage tells what was cached', async () => {
    const prompt = Array.from({ length: 70 }, (_, i) => `j${i * i}`).join(' ');
    const [first, again] = [await complete({ prompt }), await complete({ prompt })].map((r) => r.usage.prompt_tokens_details.cached_tokens);
    assert.ok(first < 64 && again >= 64);
});

test('400 names the field', async () => {
    for (const [param, more] of [['temperature', { temperature: 'hot' }], ['top_p', { top_p: 7 }], ['frobnicate', { frobnicate: 1 }]]) {
        await assert.rejects(chat(more), (e) => e instanceof BadRequestError && e.param === param && e.status === 400);
    }
});

test('401 and 404', async () => {
    await assert.rejects(clientOf(MEDLEY_KEYS_URL, 'sk-wrong').models.list(), AuthenticationError);
    assert.ok((await clientOf(MEDLEY_KEYS_URL, MEDLEY_KEY).models.list()).data.length);
    await assert.rejects(client.post('/no/such/endpoint', { body: {} }), NotFoundError);
});

test('429 when too many wait', async () => {
    const keyed = clientOf(MEDLEY_KEYS_URL, MEDLEY_KEY);
    const all = Array.from({ length: 8 }, (_, i) => keyed.completions.create({ model, prompt: `js ${i}`, max_tokens: 400, temperature: 0, ignore_eos: true }));
    const refused = (await Promise.allSettled(all)).filter((r) => r.status === 'rejected').map((r) => r.reason);
    assert.ok(refused.length > 0 && refused.length < 8);
    for (const e of refused) assert.ok(e instanceof RateLimitError && Number(e.headers.get('retry-after')) > 0);
});

test('responses', async (t) => {
    try {
        const r = await client.responses.create({ model, input: 'Hello', max_output_tokens: 8, temperature: 0 });
        assert.ok(r.usage.output_tokens > 0);
    } catch (e) {
        if (!(e instanceof NotFoundError)) throw e;
        t.skip('responses are not there');
    }
});

test('files and batches', async (t) => {
    const line = (i) => JSON.stringify({ custom_id: `${i}`, method: 'POST', url: '/v1/completions', body: { model, prompt: 'a', max_tokens: 3, temperature: 0 } });
    let file;
    try {
        file = await client.files.create({ file: await toFile(Buffer.from([0, 1, 2].map(line).join('\n')), 'in.jsonl'), purpose: 'batch' });
    } catch (e) {
        if (!(e instanceof NotFoundError)) throw e;
        return t.skip('files and batches are not there');
    }
    let batch = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' });
    for (let i = 0; i < 600 && !['completed', 'failed'].includes(batch.status); i++) {
        await new Promise((done) => setTimeout(done, 50));
        batch = await client.batches.retrieve(batch.id);
    }
    const answers = (await (await client.files.content(batch.output_file_id)).text()).trim().split('\n').map((l) => JSON.parse(l));
    assert.deepEqual(answers.map((a) => a.custom_id), ['0', '1', '2']);
});

test('the real model talks', { skip: MEDLEY_REAL_URL ? false : 'the real model is not here' }, async () => {
    const real = clientOf(MEDLEY_REAL_URL);
    const r = await real.chat.completions.create({ model: (await real.models.list()).data[0].id, messages: [{ role: 'user', content: 'What is gravity?' }], max_tokens: 24, temperature: 0 });
    assert.match(r.choices[0].message.content, /gravity is a fundamental/i);
});
