// A debugger, in a process of its own: attaches to ws://…, lets the program run, and says of each pause, in JSON, one a line, where
// it is and what an expression is in each frame; then it goes on. debugger.js URL [expression]
'use strict';

const [url, expression = '1'] = process.argv.slice(2);
const { STEP = 'Debugger.resume', BLACKBOX } = process.env;
const socket = new WebSocket(url);
const waiting = new Map();
let last = 0;

/** To the main thread, or to a worker, through it. */
function send(session, method, params = {}) {
  const id = ++last, message = { id, method, params };
  if (session) socket.send(JSON.stringify({ id: ++last, method: 'NodeWorker.sendMessageToWorker', params: { sessionId: session, message: JSON.stringify(message) } }));
  else socket.send(JSON.stringify(message));
  return new Promise((done) => waiting.set(id, done));
}

async function begin(session) {
  await send(session, 'Runtime.enable');
  await send(session, 'Debugger.enable');
  if (BLACKBOX) await send(session, 'Debugger.setBlackboxPatterns', { patterns: BLACKBOX.split(',') });
  await send(session, 'Runtime.runIfWaitingForDebugger');
}

async function paused({ callFrames, reason }, session, worker) {
  if (reason === 'Break on start') return send(session, 'Debugger.resume'); // --inspect-brk
  const frames = [];
  for (const frame of callFrames.slice(0, 4)) {
    const { result } = await send(session, 'Debugger.evaluateOnCallFrame', { callFrameId: frame.callFrameId, expression, silent: true });
    const file = scripts.get(`${session} ${frame.location.scriptId}`) ?? frame.url;
    frames.push({ file: file.split('/').pop(), line: frame.location.lineNumber + 1, function: frame.functionName, value: result?.exceptionDetails ? null : result?.result.value });
  }
  console.log(JSON.stringify({ reason, worker, frames }));
  return send(session, frames.length && STEP);
}

const scripts = new Map(), workers = new Map();

function receive(message, session) {
  const { id, method, params } = message;
  if (id) waiting.get(id)?.(message);
  if (method === 'Debugger.scriptParsed') scripts.set(`${session} ${params.scriptId}`, params.url);
  if (method === 'Debugger.paused') void paused(params, session, workers.get(session));
  if (method === 'NodeWorker.attachedToWorker') {
    workers.set(params.sessionId, workers.size + 1);
    void begin(params.sessionId);
  }
  if (method === 'NodeWorker.receivedMessageFromWorker') receive(JSON.parse(params.message), params.sessionId);
  if (method === 'Runtime.executionContextDestroyed' && !session) socket.close();
}

socket.onmessage = ({ data }) => receive(JSON.parse(data));
socket.onopen = async () => {
  await send(undefined, 'NodeWorker.enable', { waitForDebuggerOnStart: true });
  await begin();
};
socket.onclose = () => process.exit();
