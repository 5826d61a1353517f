// The openai package for Node as a process that a test talks to: one JSON line in, one JSON line out. The operations and
// their results are those of tests/clients/openai_python.py; times are seconds of the system's monotonic clock.

import { createInterface } from "node:readline";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const City = z.object({ city: z.string(), population: z.number().int() });
const now = () => Number(process.hrtime.bigint()) / 1e9;

function counted(usage) {
  if (!usage) return null;
  return {
    prompt: usage.prompt_tokens,
    completion: usage.completion_tokens,
    total: usage.total_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}

const logprobsOf = (choice) =>
  (choice.logprobs?.content ?? []).map((t) => [t.token, t.logprob, t.top_logprobs.map((top) => top.token)]);

function described(data) {
  const choice = data.choices[0];
  const message = choice.message;
  return {
    text: message.content,
    texts: data.choices.map((c) => c.message.content),
    refusal: message.refusal ?? null,
    finish: choice.finish_reason,
    finishes: data.choices.map((c) => c.finish_reason),
    indexes: data.choices.map((c) => c.index),
    calls: (message.tool_calls ?? []).map((c) => ({
      name: c.function.name,
      arguments: JSON.parse(c.function.arguments),
      has_id: Boolean(c.id),
    })),
    call_ids: (message.tool_calls ?? []).map((c) => c.id),
    usage: counted(data.usage),
    logprobs: logprobsOf(choice),
    model: data.model,
    object: data.object,
    fingerprint: data.system_fingerprint ?? null,
    request_id: data._request_id ?? null,
    message_keys: Object.keys(message).sort(),
    message,
  };
}

class Gathered {
  constructor() {
    Object.assign(this, { ids: new Set(), roles: [], texts: {}, calls: {}, finishes: {}, usages: [], logprobs: [] });
    Object.assign(this, { usageChoices: [], count: 0 });
  }

  add(chunk) {
    this.count += 1;
    this.ids.add(chunk.id);
    if (chunk.usage) {
      this.usages.push(counted(chunk.usage));
      this.usageChoices.push(chunk.choices.length);
    }
    for (const { index, delta, finish_reason, ...rest } of chunk.choices) {
      if (delta.role) this.roles.push(delta.role);
      this.texts[index] = (this.texts[index] ?? "") + (delta.content ?? "");
      if (finish_reason !== null && finish_reason !== undefined) (this.finishes[index] ??= []).push(finish_reason);
      this.logprobs.push(...logprobsOf(rest));
      for (const call of delta.tool_calls ?? []) {
        const held = (this.calls[`${index}/${call.index}`] ??= { id: "", name: "", arguments: "" });
        held.id += call.id ?? "";
        held.name += call.function.name ?? "";
        held.arguments += call.function.arguments ?? "";
      }
    }
  }

  result() {
    const calls = Object.keys(this.calls).sort().map((key) => this.calls[key]);
    return {
      ids: this.ids.size,
      roles: this.roles,
      text: this.texts[0] ?? "",
      texts: Object.values(this.texts),
      finish: this.finishes[0]?.[0] ?? null,
      finish_counts: Object.values(this.finishes).map((f) => f.length),
      calls: calls.map((c) => ({ name: c.name, arguments: JSON.parse(c.arguments), has_id: Boolean(c.id) })),
      call_ids: calls.map((c) => c.id),
      usages: this.usages,
      usage_choices: this.usageChoices,
      logprobs: this.logprobs,
      count: this.count,
    };
  }
}

const operations = {
  async create(client, job) {
    const call = client.chat.completions.create({ ...job.body, ...(job.extra ?? {}) });
    const { data, response } = await call.withResponse();
    return { ...described(data), headers: Object.fromEntries(response.headers.entries()) };
  },

  async stream(client, job) {
    const gathered = new Gathered();
    try {
      for await (const chunk of await client.chat.completions.create({ ...job.body, stream: true })) gathered.add(chunk);
    } catch (error) {
      if (!(error instanceof OpenAI.APIError)) throw error;
      return { raised: explained(error), text: gathered.texts[0] ?? "" };
    }
    return gathered.result();
  },

  async parse(client, job) {
    const response_format = zodResponseFormat(City, "City");
    const made = await client.chat.completions.parse({ ...job.body, response_format });
    return { parsed: made.choices[0].message.parsed, refusal: made.choices[0].message.refusal ?? null };
  },

  // The older name is gone from this package; the same call keeps the list of cases the same everywhere.
  async parse_beta(client, job) {
    return operations.parse(client, job);
  },

  async parse_tools(client, job) {
    const tool = zodFunction({ name: "save_city", parameters: City });
    const made = await client.chat.completions.parse({ ...job.body, tools: [tool] });
    const call = made.choices[0].message.tool_calls[0];
    return { parsed: call.function.parsed_arguments, name: call.function.name };
  },

  async parse_stream(client, job) {
    const response_format = zodResponseFormat(City, "City");
    const runner = client.chat.completions.stream({ ...job.body, response_format });
    let deltas = 0;
    runner.on("content.delta", () => (deltas += 1));
    const final = await runner.finalChatCompletion();
    return { parsed: final.choices[0].message.parsed, has_delta_events: deltas > 0 };
  },

  async embed(client, job) {
    const made = await client.embeddings.create(job.body);
    return {
      vectors: made.data.map((item) => item.embedding),
      indexes: made.data.map((item) => item.index),
      prompt: made.usage.prompt_tokens,
      object: made.object,
    };
  },

  async complete(client, job) {
    const made = await client.completions.create(job.body);
    return { texts: made.choices.map((c) => c.text), usage: counted(made.usage), object: made.object };
  },

  async complete_stream(client, job) {
    const texts = {};
    const usages = [];
    for await (const chunk of await client.completions.create({ ...job.body, stream: true })) {
      for (const choice of chunk.choices) texts[choice.index] = (texts[choice.index] ?? "") + choice.text;
      if (chunk.usage) usages.push(counted(chunk.usage));
    }
    return { texts: Object.values(texts), usages };
  },

  async models(client) {
    const page = await client.models.list();
    const objects = [...new Set(page.data.map((m) => m.object))].sort();
    return { ids: page.data.map((m) => m.id), objects, object: page.object };
  },

  async model(client, job) {
    const found = await client.models.retrieve(job.id);
    return { id: found.id, object: found.object, has_owner: Boolean(found.owned_by), created: found.created };
  },

  async get(client, job) {
    return { body: await client.get(job.path) };
  },

  async post(client, job) {
    return { body: await client.post(job.path, { body: job.body, headers: job.headers }) };
  },

  async leave_stream(client, job) {
    const stream = await client.chat.completions.create({ ...job.body, stream: true });
    let text = "";
    let left_at = 0;
    for await (const chunk of stream) {
      text = chunk.choices[0]?.delta.content ?? "";
      if (text) {
        left_at = now();
        stream.controller.abort();
        break;
      }
    }
    return { text, left_at };
  },

  async leave_early(client, job) {
    const controller = new AbortController();
    let left_at = 0;
    setTimeout(() => {
      left_at = now();
      controller.abort();
    }, job.after_s * 1000);
    try {
      await client.chat.completions.create(job.body, { signal: controller.signal });
    } catch (error) {
      if (!(error instanceof OpenAI.APIUserAbortError)) throw error;
      return { left_at, not_before: left_at };
    }
    return { answered: true };
  },
};

function explained(error) {
  return {
    class: error.constructor.name,
    status: error.status ?? null,
    message: error.message,
    code: error.code ?? null,
    type: error.type ?? null,
    param: error.param ?? null,
    request_id: error.requestID ?? null,
    keys: error.error && typeof error.error === "object" ? Object.keys(error.error).sort() : null,
  };
}

const clients = new Map();

async function run(job) {
  const key = JSON.stringify([job.base_url, job.api_key, job.retries]);
  if (!clients.has(key)) {
    const options = { baseURL: job.base_url, apiKey: job.api_key, maxRetries: job.retries, timeout: 60_000 };
    clients.set(key, new OpenAI(options));
  }
  try {
    return await operations[job.op](clients.get(key), job);
  } catch (error) {
    if (error instanceof OpenAI.APIError) return { raised: explained(error) };
    return { crashed: String(error?.stack ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await run(JSON.parse(line))) + "\n");
}
