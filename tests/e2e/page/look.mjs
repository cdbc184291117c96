// SPDX-License-Identifier: Apache-2.0
// node look.mjs URL [--pictures DIRECTORY]
//
// Looks at the page of an agent as people do, in Chromium, while a canary of the SLO "demo" turns
// slow, and says "passed: WHAT" for each thing that is as it should be. Ends with 1 at the first
// that is not. With --pictures it sees the veto and takes pictures of it, and nothing else.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [url, ...rest] = process.argv.slice(2);
const pictures = rest[0] === "--pictures" ? rest[1] : undefined;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const widths = [400, 820, 1280, 1600];
const vetoWithin = 120_000;
// Reached only when something is broken: on a busy machine a picture alone may take seconds.
const patience = 120_000;

const passed = (what) => console.log(`passed: ${what}`);
const check = (condition, what) => {
  if (!condition) throw new Error(what);
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

// A page that fails the test when anything is said on the console, refused by its policy or asked
// of any other address.
const complaints = [];
const open = async (options = {}, path = "/") => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on("console", (message) => complaints.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => {
    const ended = request.url().includes("/live") && request.failure()?.errorText === "net::ERR_ABORTED";
    if (!ended) complaints.push(`request: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:"))
      complaints.push(`asked elsewhere: ${request.url()}`);
  });
  await page.goto(new URL(path, url).href, { waitUntil: "load" });
  return page;
};
const close = (page) => page.context().close();

// axe-core comes in by the debugger, which the page's policy does not bind.
const findViolations = async (page) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
};

// The innermost of what reaches beyond the right edge.
const findWide = () =>
  [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest(".scroll > *") && one.getBoundingClientRect().right > innerWidth)
    .slice(-3)
    .map((one) => one.outerHTML.slice(0, 200))
    .join(" | ");

const look = async (width, colorScheme) => {
  const page = await open({ viewport: { width, height: 900 }, colorScheme });
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  check(wide <= 0, `at ${width} px the page is ${wide} px too wide: ${await page.evaluate(findWide)}`);
  const violations = await findViolations(page);
  check(violations.length === 0, `${width} px, ${colorScheme}: ${violations.join("\n")}`);
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await close(page);
  return background;
};

// ---- the veto, as it comes ----

const seesVeto = async () => {
  const page = await open();
  await page.locator("#live.on").waitFor();
  const before = await page.locator("#as-of").textContent();
  await page.waitForFunction((text) => document.getElementById("as-of").textContent !== text, before);
  passed("the page is live");
  await page.locator("article.slo", { hasText: "demo" }).first().waitFor();
  await page.locator("article.slo.veto", { hasText: "demo" }).waitFor({ timeout: vetoWithin });
  const card = page.locator("article.slo.veto", { hasText: "demo" });
  check((await card.locator(".why").textContent()).includes("canary"), "the veto gives no reason");
  for (const label of [/^Distribution of request of late: p99 of the canary/, /^Evidence of the last/])
    check((await card.getByRole("img", { name: label }).count()) === 1, `no drawing ${label}`);
  check((await card.locator("table.objectives tbody tr").count()) > 0, "the veto has no objectives");
  await page.locator("#event-list li", { hasText: "veto" }).first().waitFor();
  const rows = page.locator("#rows tr");
  check((await rows.filter({ hasText: "canary" }).locator("svg").count()) >= 2, "the canary has no charts");
  passed("the demo's veto is seen as it comes, with its distributions, evidence and event");
  await close(page);
};

const looksAlike = async () => {
  for (const width of widths) {
    const light = await look(width, "light");
    const dark = await look(width, "dark");
    check(light !== dark, `light and dark have the same background: ${light}`);
  }
  passed(`light and dark at ${widths.join(", ")} px: nothing is cut off, axe-core finds nothing`);
};

// The first are those of the README, the others to look at.
const takesPictures = async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open({ viewport: { width: 1280, height: 860 }, colorScheme });
    await page.locator("#live.on").waitFor();
    await page.screenshot({ path: join(pictures, `page-${colorScheme}.png`) });
    for (const width of [400, 1600]) {
      await page.setViewportSize({ width, height: 900 });
      await page.screenshot({ path: join(pictures, `${width}-${colorScheme}.png`) });
    }
    await close(page);
  }
  passed(`pictures are in ${pictures}`);
};

// ---- without a mouse, without scripts ----

const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    return {
      text: element.textContent.trim(),
      id: element.id,
      outlined: style.outlineStyle !== "none" || element.matches("input"),
    };
  });
// Tab until `wanted` has the focus; each stop must be seen.
const tabTo = async (page, wanted) => {
  for (let i = 0; i < 60; ++i) {
    await page.keyboard.press("Tab");
    const at = await focused(page);
    check(at.outlined, `the focus on "${at.text || at.id}" is not seen`);
    if (wanted(at)) return;
  }
  throw new Error("the keyboard does not reach what was looked for");
};

const worksByKeyboard = async () => {
  const page = await open();
  await page.keyboard.press("Tab");
  check((await focused(page)).text === "To the verdicts", "the first stop is not the link past the head");
  await page.keyboard.press("Enter");
  check(new URL(page.url()).hash === "#verdicts", "the link past the head leads nowhere");
  await tabTo(page, (at) => at.id === "match");
  await page.keyboard.type("canary");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  const names = await page.locator("#rows tr th bdi").allTextContents();
  check(names.length > 0 && names.every((name) => name.includes("canary")), `the filter leaves ${names}`);
  await tabTo(page, (at) => at.text.startsWith("p99"));
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  check((await page.locator("th[aria-sort=descending]").textContent()).startsWith("p99"), "the order did not change");
  check(new URL(page.url()).searchParams.get("match") === "canary", "the order takes the filter away");
  // What somebody has the focus on, or types, must outlast what comes in.
  await tabTo(page, (at) => at.text.startsWith("p99"));
  await page.locator("#live.on").waitFor();
  const before = await page.locator("#as-of").textContent();
  await page.waitForFunction((text) => document.getElementById("as-of").textContent !== text, before);
  check((await focused(page)).text.startsWith("p99"), "the focus is lost when figures change");
  await close(page);
  passed("everything is reached and used by keyboard alone");
};

const worksWithoutScripts = async () => {
  const page = await open({ javaScriptEnabled: false });
  check((await page.locator("#rows tr").count()) > 0, "no workloads without scripts");
  check((await page.locator("article.slo svg").count()) > 0, "no drawings without scripts");
  check((await page.locator("#map-rows tr").count()) > 0, "no maps without scripts");
  await page.locator("thead a", { hasText: "p99" }).first().click();
  check((await page.locator("th[aria-sort=descending]").textContent()).startsWith("p99"), "no order without scripts");
  await close(page);
  passed("the tables, their order and the drawings need no script");
};

// ---- many ----

const sharesEightPlaces = async () => {
  const viewers = [];
  for (let i = 0; i < 8; ++i) viewers.push(await open());
  for (const page of viewers) await page.locator("#live.on").waitFor();
  const silent = complaints.length;
  const ninth = await open();
  await ninth.locator("#live.off", { hasText: "not live" }).waitFor();
  check((await ninth.locator("#rows tr").count()) > 0, "the ninth viewer sees nothing");
  // Chromium itself says on the console that the stream was refused.
  complaints.length = silent;
  for (const page of [...viewers, ninth]) await close(page);
  passed("eight watch live, the ninth sees the page as of now");
};

const isQuick = async () => {
  const page = await open();
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
  const { paint, bytes } = await page.evaluate(() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    bytes: performance.getEntriesByType("navigation")[0].decodedBodySize,
  }));
  check(bytes < 200 * 1024, `the page has ${bytes} bytes`);
  console.log(`first paint after ${paint.toFixed(0)} ms, ${bytes} bytes`);
  await close(page);
};

let status = 0;
try {
  const all = [seesVeto, looksAlike, worksByKeyboard, worksWithoutScripts, sharesEightPlaces, isQuick];
  for (const step of pictures ? [seesVeto, takesPictures] : all) {
    await step();
    check(complaints.length === 0, complaints.join("\n"));
  }
  passed("nothing on the console, and nothing asked of another address");
} catch (error) {
  console.log(`FAILED: ${error.message}`);
  status = 1;
}
await browser.close();
process.exit(status);
