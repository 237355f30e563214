// Builds src/catchment/dashboard/static/: one script of ours with what it stands on, our style, and their licences.
import { build } from "esbuild";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

const target = new URL("../../src/catchment/dashboard/static/", import.meta.url);
const wanted = JSON.parse(readFileSync("package.json", "utf8")).devDependencies;
const shipped = ["htmx.org", "d3-sankey", "d3-array", "d3-shape", "d3-path"];

const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const banner = Object.keys(wanted).filter((name) => shipped.includes(name)).map((name) => `${name} ${version(name)}`);

const scripts = await build({
  entryPoints: ["dashboard.js"],
  outfile: new URL("dashboard.js", target).pathname,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020"],
  legalComments: "none",
  banner: { js: `/* ${banner.join(", ")}; licences in licences.txt */` },
});
const styles = await build({
  entryPoints: ["dashboard.css"],
  outfile: new URL("dashboard.css", target).pathname,
  minify: true,
});
// A brace that is missing is only a warning, and makes half a page ugly.
if (scripts.warnings.length + styles.warnings.length) process.exit(1);
const licences = shipped.map((name) => `${name} ${version(name)}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8")}`);
writeFileSync(new URL("licences.txt", target), licences.join("\n----\n\n"));
copyFileSync("drop.svg", new URL("drop.svg", target));
