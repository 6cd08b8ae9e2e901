// The admin page: decisions as they come, figures every two seconds. No framework, no build step, nothing from elsewhere.
"use strict";

const KEPT = 300; // decisions held in the page
const POINTS = 60; // samples in a chart
const PERIOD = 2000; // milliseconds between two looks at the state
const CLIENTS_EVERY = 5; // looks: there may be thousands of clients
const AGAIN = 1000; // milliseconds until a stream that ended is begun again
const SHOWN = 100; // clients in the page
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// An element with properties and children; text only ever as text.
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// The token of the link: in the fragment, which goes to no server; kept for this tab, and taken out of the address bar.
function presented() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    sessionStorage.setItem("token", given);
    window.history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

let token = presented();
window.addEventListener("hashchange", () => { token = presented(); });

const asked = (path, options = {}) =>
  fetch(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });

const badge = (word, label) => make("span", { class: `badge ${word.replace(" ", "-")}` }, label ?? word);
const OUTCOMES = { permit: "permitted", deny: "refused", report: "would refuse", fail: "failed" };

function seconds(value) {
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${(value * 1000).toFixed(value < 0.01 ? 2 : 1)} ms`;
  return `${value.toFixed(2)} s`;
}

function span(value) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [unit, size] = units.find(([, one]) => Math.abs(value) >= one) ?? ["s", 1];
  return `${Math.floor(value / size)} ${unit}`;
}

const count = (value) => value.toLocaleString("en");
const rate = (value) => (value < 10 ? value.toFixed(1) : count(Math.round(value)));

// --- live decisions -----------------------------------------------------------------------------

const live = { entries: [], waiting: [], paused: false, skipped: 0, cursor: "" };

function matches(entry) {
  const outcome = $("outcome").value;
  if (outcome && entry.outcome !== outcome) return false;
  const words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => entry.haystack.includes(word));
}

function row(entry, fresh) {
  const client = entry.client_id || entry.subject || entry.certificate_subject || "";
  const what = entry.reason === "none" ? entry.rule : `${entry.rule === "none" ? "" : `${entry.rule} · `}${entry.reason}`;
  const summary = make("summary", { class: "decision" },
    make("span", { class: "time" }, entry.time.slice(11, 23)),
    badge(entry.outcome, OUTCOMES[entry.outcome]),
    make("span", { class: "status" }, String(entry.status || "–")),
    make("span", { class: "request", title: `${entry.method} ${entry.path}` }, `${entry.method} ${entry.path}`),
    make("span", { class: "rule", title: what }, what),
    make("span", { class: "client", title: client }, client || "–"),
    make("span", { class: "took" }, seconds(entry.duration)));
  const details = make("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(inside(entry));
  });
  return make("li", { class: fresh ? "fresh" : "" }, details);
}

const HIDDEN_MEMBERS = new Set(["steps", "haystack", "failures", "event", "sentence", "number", "outcome"]);

function inside(entry) {
  const members = make("dl", { class: "members" });
  for (const [name, value] of Object.entries(entry)) {
    if (HIDDEN_MEMBERS.has(name) || value === "" || value === "none") continue;
    const shown = name.endsWith("duration") ? seconds(value) : String(value);
    members.append(make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, shown)));
  }
  return make("div", { class: "inside" }, entry.sentence ? make("p", {}, entry.sentence) : null, steps(grouped(entry.steps)), members);
}

// Neighbours that came out the same and have nothing to say share a line, so that the failure is seen at once.
function grouped(list) {
  const groups = [];
  for (const step of list) {
    const last = groups.at(-1);
    const silent = !step.expected && !step.presented;
    if (last && silent && last.silent && last.verdict === step.verdict) {
      last.check += `, ${step.check}`;
      last.clause = "";
    } else groups.push({ ...step, silent });
  }
  return groups;
}

function steps(list) {
  const said = (step) => {
    const line = make("span", { class: "said" });
    if (step.expected) line.append("expected ", make("b", {}, step.expected), " ");
    if (step.presented) line.append(step.expected ? "presented " : "", make("b", {}, step.presented));
    return line;
  };
  return make("ol", { class: "steps" }, ...list.map((step) => make("li", {},
    badge(step.verdict), make("span", { class: step.clause ? "check mono" : "check mono wide" }, step.check),
    ...(step.clause ? [make("span", { class: "clause quiet" }, step.clause), said(step)] : []))));
}

function show() {
  const list = $("decisions");
  list.replaceChildren(...live.entries.filter(matches).map((entry) => row(entry, false)));
  tell();
}

function tell() {
  const shown = $("decisions").children.length;
  $("empty").hidden = live.entries.length > 0;
  const parts = [];
  if (live.entries.length) parts.push(shown === live.entries.length ? `the last ${shown}` : `${shown} of the last ${live.entries.length} match`);
  if (live.paused) parts.push(`paused, ${live.waiting.length} new`);
  if (live.skipped) parts.push(`${count(live.skipped)} not shown: more than the page takes`);
  $("live-state").textContent = parts.join(" · ");
}

function arrive(entries) {
  const list = $("decisions");
  for (const entry of entries) {
    entry.haystack = JSON.stringify(entry).toLowerCase();
    live.entries.unshift(entry);
    if (matches(entry)) list.prepend(row(entry, true));
  }
  live.entries.length = Math.min(live.entries.length, KEPT);
  while (list.children.length > KEPT) list.lastChild.remove();
  tell();
}

// A stream of events (WHATWG, server-sent events), read by hand: an EventSource cannot present the token.
async function listen() {
  try {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": live.cursor };
    const response = await asked("/decisions", { headers });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const events = (held + part.value).split("\n\n");
      held = events.pop();
      events.forEach(heard);
    }
  } catch { /* it is tried again, and `look` tells what is wrong */ }
  setTimeout(listen, AGAIN);
}

function heard(event) {
  const lines = event.split("\n");
  const member = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  if (member("data") === undefined) return;
  live.cursor = member("id") ?? live.cursor;
  const batch = JSON.parse(member("data"));
  live.skipped += batch.skipped;
  if (live.paused) {
    live.waiting.push(...batch.entries);
    live.waiting.splice(0, Math.max(0, live.waiting.length - KEPT));
    tell();
  } else arrive(batch.entries);
}

function pause() {
  live.paused = !live.paused;
  $("pause").setAttribute("aria-pressed", String(live.paused));
  $("pause").textContent = live.paused ? "Resume" : "Pause";
  if (!live.paused) arrive(live.waiting.splice(0));
  else tell();
}

// --- state --------------------------------------------------------------------------------------

const history = { last: null, series: { all: [], deny: [], fail: [], connections: [] } };

function chart(name, value) {
  const points = history.series[name];
  points.push(value);
  if (points.length > POINTS) points.shift();
  const top = Math.max(1, ...points);
  const at = points.map((one, index) => `${((index + POINTS - points.length) * 100 / (POINTS - 1)).toFixed(2)},${(31 - one / top * 28).toFixed(2)}`);
  const svg = $(`chart-${name}`);
  svg.setAttribute("viewBox", "0 0 100 32");
  svg.setAttribute("preserveAspectRatio", "none");
  const first = at[0].split(",")[0];
  svg.replaceChildren(draw("polygon", { class: "area", points: `${first},32 ${at.join(" ")} 100,32` }), draw("polyline", { class: "line", points: at.join(" ") }));
}

function figures(state) {
  const sums = { all: 0, deny: 0, fail: 0 };
  for (const [, outcome, , number] of state.counts.requests) {
    sums.all += number;
    if (outcome in sums) sums[outcome] += number;
  }
  if (history.last) {
    const passed = Math.max(0.001, state.now - history.last.now);
    for (const name of ["all", "deny", "fail"]) {
      const value = Math.max(0, sums[name] - history.last.sums[name]) / passed;
      $(`rate-${name}`).textContent = rate(value);
      chart(name, value);
    }
  }
  history.last = { now: state.now, sums };
  $("connections").textContent = count(state.counts.connections);
  $("in-progress").textContent = `open · ${count(state.counts.in_progress)} requests under way`;
  chart("connections", state.counts.connections);
}

// --- how long it took ---------------------------------------------------------------------------

const TIMED = { decision: "the decision", upstream: "the API, to the head of its answer" };
const looked = []; // the rows of the last looks, [what, bound, count] each, oldest first

// What was counted since the oldest look kept. A worker that was started again counts from nothing.
function recent(rows) {
  looked.push(new Map(rows.map(([what, bound, number]) => [`${what} ${bound}`, number])));
  if (looked.length > POINTS) looked.shift();
  return rows.map(([what, bound, number]) => [what, bound, Math.max(0, number - looked[0].get(`${what} ${bound}`))]);
}

// The value that the share `part` of the observations does not exceed, taken as evenly spread within its bucket.
function quantile(buckets, part) {
  let wanted = part * buckets.reduce((sum, [, number]) => sum + number, 0);
  let lower = 0;
  for (const [bound, number] of buckets) {
    if (bound === null) break;
    if (number && wanted <= number) return `≈ ${seconds(lower + (bound - lower) * wanted / number)}`;
    wanted -= number;
    lower = bound;
  }
  return `> ${seconds(lower)}`;
}

function durations(state) {
  const since = recent(state.counts.durations);
  const fresh = since.some(([, , number]) => number);
  const rows = fresh ? since : state.counts.durations;
  const told = Object.entries(TIMED).map(([what, label]) => {
    const buckets = rows.filter(([name]) => name === what).map(([, bound, number]) => [bound, number]);
    const sum = buckets.reduce((all, [, number]) => all + number, 0);
    const figure = (part) => make("dd", { "data-part": `p${part}` }, make("span", { class: "quiet" }, `p${part} `), make("b", {}, sum ? quantile(buckets, part / 100) : "–"));
    return make("div", { "data-name": what }, make("dt", {}, label), figure(50), figure(99), make("dd", { class: "quiet" }, `of ${count(sum)}`));
  });
  $("upstream-name").textContent = `${state.upstream} · ${count(state.counts.upstream_connections)} connections`;
  $("durations").replaceChildren(...told);
  $("durations-since").textContent = fresh ? `of the last ${span(Math.max(1, (looked.length - 1) * PERIOD / 1000))}` : "since the start";
}

function bars(id, rows, key) {
  const totals = new Map();
  for (const [rule, outcome, reason, number] of rows) {
    const name = key(rule, outcome, reason);
    if (name === null) continue;
    const found = totals.get(name) ?? { sum: 0, parts: {} };
    found.sum += number;
    found.parts[outcome] = (found.parts[outcome] ?? 0) + number;
    totals.set(name, found);
  }
  const ordered = [...totals].sort((one, other) => other[1].sum - one[1].sum).slice(0, 12);
  const top = Math.max(1, ...ordered.map(([, one]) => one.sum));
  $(id).replaceChildren(...ordered.map(([name, one]) => {
    const parts = Object.entries(one.parts).map(([outcome, number]) => `${count(number)} ${OUTCOMES[outcome]}`).join(", ");
    const svg = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": parts });
    let left = 0;
    for (const outcome of ["permit", "report", "deny", "fail"]) {
      const width = (one.parts[outcome] ?? 0) / top * 100;
      if (width) svg.append(draw("rect", { class: outcome, x: left, y: 0, width, height: 10 }));
      left += width;
    }
    return make("li", { title: parts }, make("span", { class: "name" }, name), svg, make("span", { class: "count" }, count(one.sum)));
  }), ...(ordered.length ? [] : [make("li", { class: "quiet" }, "nothing yet")]));
}

function things(id, items, none) {
  $(id).replaceChildren(...(items.length ? items : [make("li", { class: "quiet" }, none)]));
}

function issuer(one) {
  const age = one.age === null ? "never fetched" : `fetched ${span(one.age)} ago`;
  const skipped = Object.entries(one.skipped).map(([reason, number]) => `${number} skipped: ${reason}`);
  return make("li", {}, make("span", { class: "name" }, one.issuer),
    make("span", { class: `pill ${one.ready ? "good" : "bad"}` }, one.source === "introspection" ? "introspection" : `${one.keys} ${one.keys === 1 ? "key" : "keys"}`),
    make("span", { class: "note" }, [one.source === "introspection" ? "asked about each token" : age, ...skipped].join(" · ")),
    one.last_error ? make("span", { class: "note bad" }, one.last_error) : null);
}

function certificate(one, now) {
  const days = Math.floor((one.not_after - now) / 86400);
  const state = days < 0 || now < one.not_before ? "bad" : days < 7 ? "warn" : "good";
  const text = now > one.not_after ? "expired" : now < one.not_before ? "not valid yet" : days >= 1 ? `${count(days)} days left` : `${span(one.not_after - now)} left`;
  return make("li", {}, make("span", { class: "name" }, one.use), make("span", { class: `pill ${state}` }, text),
    make("span", { class: "note" }, `${one.subject} · until ${new Date(one.not_after * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`),
    make("span", { class: "note mono" }, one.file));
}

const BINDINGS = { bound: "good", jkt: "good", unknown: "warn", unbound: "bad", mismatch: "bad", unreadable: "bad" };

function authorizationServer(one, issued) {
  $("server-panel").hidden = $("token-request-label").hidden = one === null;
  if (one === null) return;
  const listed = (counted) => Object.entries(counted).map(([name, what]) => `${name} ${typeof what === "number" ? count(what) : what}`).join(" · ");
  const tokens = issued.map(([binding, number]) => make("span", { class: `pill ${BINDINGS[binding] ?? "bad"}` }, `${count(number)} ${binding}`));
  things("server", [
    make("li", {}, make("span", { class: "name" }, one.issuer), make("span", { class: "note" }, listed(one.endpoints)),
      make("span", { class: "note" }, `clients: ${listed(one.clients) || "none"}`)),
    make("li", {}, make("span", { class: "name" }, `Issued tokens (${one.audit_binding})`), ...(tokens.length ? tokens : [make("span", { class: "note" }, "none yet")])),
  ], "");
}

function configuration(one) {
  const when = new Date(one.at * 1000).toISOString().slice(0, 19).replace("T", " ");
  const words = { success: `generation ${one.generation} in force since ${when} UTC`, failure: `what is on disk was refused at ${when} UTC; generation ${one.generation} stays in force`, waiting: `waiting for the other half of a certificate and key; generation ${one.generation} stays in force` };
  const lines = [make("p", { class: one.result === "failure" ? "bad-text" : "" }, `${words[one.result]} · ${one.rules} rules · ${one.trigger}`)];
  for (const [title, list] of [["Problems", one.problems], ["At the next restart", one.notes], ["Dangerous settings", one.dangers]]) {
    if (list.length) lines.push(make("h3", {}, title), make("ul", { class: "problems" }, ...list.map((text) => make("li", {}, text))));
  }
  $("configuration").replaceChildren(...lines);
  $("refused").hidden = one.result !== "failure";
  $("refused-why").textContent = `Generation ${one.generation} stays in force: ${one.problems[0] ?? ""}`;
}

const COLUMNS = ["client", "bound", "by key (DPoP)", "unbound", "mismatched", "would be denied", "denied", "why", "rule", "last seen"];

function client(one) {
  const numbers = [one.bound, one.by_key, one.unbound, one.mismatched, one.would_deny, one.denied];
  const listed = (counted) => Object.entries(counted).map(([name, number]) => `${name} ${count(number)}`).join(", ");
  const cells = [one.client, ...numbers.map(count), listed(one.reasons), Object.keys(one.rules).map((name) => (name === "none" ? "(no rule)" : name)).join(", "), moment(one.last_seen)];
  const colours = ["", "", "warn-text", "bad-text", "bad-text", ""];
  const kind = (at) => (at > 0 && at < 7 ? `number ${numbers[at - 1] ? colours[at - 1] : "none"}` : cells[at] ? "" : "blank");
  return make("tr", { title: one.last_refused ? `last refused, or would be: ${moment(one.last_refused)}` : "" },
    ...cells.map((text, at) => make(at ? "td" : "th", { class: kind(at), "data-name": COLUMNS[at], ...(at ? {} : { scope: "row" }) }, text || "–")));
}

const moment = (text) => text.slice(0, 19).replace("T", " ");

function adoption({ since, clients }, until) {
  const all = clients.length;
  const breaking = clients.filter((one) => one.would_deny).length;
  const day = until ? ` on ${new Date(until * 1000).toISOString().slice(0, 10)}` : "";
  const verdict = breaking ? `${count(breaking)} of ${count(all)} would be refused by what is only reported now and will be enforced${day}.` : `${count(all)} ${all === 1 ? "client" : "clients"}; enforcing what is only reported would refuse none.`;
  const shown = all > SHOWN ? ` The first ${SHOWN} are shown.` : "";
  $("adoption-note").textContent = `Since ${moment(new Date(since * 1000).toISOString())} UTC: ${all ? verdict : "no request yet."}${shown}`;
  const head = make("tr", {}, ...COLUMNS.map((name, at) => make("th", { scope: "col", class: at > 0 && at < 7 ? "number" : "" }, name)));
  $("adoption").replaceChildren(...(all ? [make("thead", {}, head), make("tbody", {}, ...clients.slice(0, SHOWN).map(client))] : []));
}

function facts(state) {
  const rows = { Pod: state.pod, listeners: state.addresses.join(", "), upstream: state.upstream, generation: state.configuration.generation, version: state.version, up: span(state.now - state.started), workers: state.workers.length };
  if (state.counts.lines_dropped) rows["log lines lost"] = count(state.counts.lines_dropped);
  $("facts").replaceChildren(...Object.entries(rows).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
  const failing = state.checks.filter((check) => !check.ok);
  $("readiness").className = `pill ${state.ready ? "good" : "bad"}`;
  $("readiness").textContent = state.ready ? "ready" : `not ready: ${failing.map((check) => check.name).join(", ")}`;
  $("readiness").title = failing.map((check) => `${check.name}: ${check.detail}`).join("\n");
}

function options(names) {
  const select = $("listener");
  if (select.children.length !== names.length) select.replaceChildren(...names.map((name) => make("option", {}, name)));
}

let looks = 0;

async function look() {
  try {
    const response = await asked("/state");
    $("locked").hidden = response.status !== 401;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const state = await response.json();
    facts(state);
    figures(state);
    durations(state);
    bars("rules", state.counts.requests, (rule) => (rule === "none" ? "(no rule)" : rule));
    bars("reasons", state.counts.requests, (rule, outcome, reason) => (reason === "none" ? null : reason));
    things("issuers", state.issuers.map(issuer), "no issuer");
    things("certificates", state.certificates.map((one) => certificate(one, state.now)), "no certificate");
    authorizationServer(state.authorization_server, state.counts.issued);
    configuration(state.configuration);
    if (looks++ % CLIENTS_EVERY === 0) adoption(await (await asked("/clients")).json(), state.configuration.report_only_until);
    options(state.listeners);
    if (document.activeElement !== $("level")) $("level").value = state.log_level;
  } catch {
    $("readiness").className = "pill bad";
    $("readiness").textContent = $("locked").hidden ? "out of reach" : "locked";
  }
}

// --- what may be asked --------------------------------------------------------------------------

async function post(path, body) {
  const response = await asked(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error ?? `status ${response.status}`);
  return answer;
}

async function explain(event) {
  event.preventDefault();
  const form = new FormData($("explain"));
  try {
    const asked = Object.fromEntries(form);
    asked.headers = asked.headers.split("\n").filter((line) => line.trim());
    const answer = await post("/explain", asked);
    const passes = answer.permit || answer.answered_here;
    const word = passes ? (answer.would_deny ? "report" : "permit") : "deny";
    const verdict = make("p", { class: "verdict" }, badge(word, answer.answered_here ? "answered by the sidecar" : passes ? (answer.would_deny ? "permitted, only reported" : "permitted") : `refused ${answer.status}`),
      make("b", {}, answer.reason ?? ""), make("span", {}, answer.detail ?? ""), make("span", { class: "quiet" }, answer.rule ? `rule ${answer.rule}` : "no rule"));
    $("answer").replaceChildren(...[verdict,
      answer.diagnosis ? make("p", { class: "mistake" }, make("b", {}, "Probable mistake: "), answer.diagnosis.sentence) : null,
      steps(answer.steps),
      ...[answer.grpc_status === null ? "" : `grpc-status: ${answer.grpc_status}${answer.grpc_message ? ` ${answer.grpc_message}` : ""}`,
        answer.challenge ? `WWW-Authenticate: ${answer.challenge}` : "",
        answer.told_headers.length ? `the server is told: ${answer.told_headers.join(", ")}` : "",
      ].filter(Boolean).map((line) => make("p", { class: "mono quiet" }, line))].filter(Boolean));
  } catch (error) {
    $("answer").replaceChildren(make("p", { class: "bad-text" }, error.message));
  }
}

function typed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    $("text").focus();
  } else if (event.key === "p") pause();
}

$("filter").addEventListener("submit", (event) => event.preventDefault());
$("text").addEventListener("input", show);
$("outcome").addEventListener("change", show);
$("pause").addEventListener("click", pause);
$("explain").addEventListener("submit", explain);
$("reload").addEventListener("click", () => post("/reload", {}).then(look, look));
$("level").addEventListener("change", () => post("/log-level", { level: $("level").value }).then(look, look));
document.addEventListener("keydown", typed);
listen();
look();
setInterval(look, PERIOD);
