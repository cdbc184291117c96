// SPDX-License-Identifier: Apache-2.0
// node paint.mjs URL N: the first paint of the page in Chromium, in ms from the start of the
// navigation, each time with nothing kept from before; the browser itself is warm.
import { chromium } from "playwright-core";

const [url, times] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
for (let i = 0; i < Number(times); ++i) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load" });
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
  console.log(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  await context.close();
}
await browser.close();
