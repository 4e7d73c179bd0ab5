// The beginning: login or shell, and which page stands at which address.

import { api, Refusal, whenLoggedOut } from "./api.js";
import { fill, h } from "./dom.js";
import { router } from "./router.js";
import { forget, keep, restore, session, use } from "./session.js";
import { shell } from "./shell.js";
import { stopWatching, watch } from "./status.js";
import { toasts } from "./toast.js";
import { routes } from "./routes.js";
import { loginPage } from "./pages/login.js";

const app = document.getElementById("app");
let pages = null;

document.body.append(toasts);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address is no page
  document.getElementById("main")?.focus();
});

whenLoggedOut(() => {
  if (pages) leave("Your login does not hold any more. Log in again to go on.");
});

// enter learns who the user is and shows the pages.
async function enter() {
  const who = await api.get(["whoami"]); // alone: a wrong password is one login that failed
  const [overview, vhosts] = await Promise.all([
    api.get(["overview"], { disable_stats: true, columns: "cluster_name,node,product_version" }),
    api.get(["vhosts"], { columns: "name" }),
  ]);
  Object.assign(session, {
    user: who.name,
    tags: [who.tags].flat(),
    vhosts: vhosts.map((v) => v.name),
    node: overview.node,
    cluster: overview.cluster_name,
    version: overview.product_version,
  });
  if (!session.vhosts.includes(session.vhost)) session.vhost = null;
  keep();
  const frame = shell({ onLeave: () => leave(""), onVHost: chooseVHost });
  app.replaceChildren(frame.element);
  pages = router(frame.main, routes, frame.select);
  if (!location.hash) history.replaceState(null, "", "#/overview");
  pages.show();
  watch();
}

function chooseVHost(vhost) {
  session.vhost = vhost;
  keep();
  pages.show({ focus: false });
}

function leave(message) {
  pages?.stop();
  pages = null;
  stopWatching();
  forget();
  showLogin(message);
}

function showLogin(message) {
  document.title = "Log in · Warren";
  app.replaceChildren(
    loginPage({
      message,
      async login(user, password) {
        use(user, password);
        try {
          await enter();
        } catch (e) {
          forget();
          if (e instanceof Refusal && e.loggedOut) throw new Error("Name or password is wrong, or this user may not log in from here.");
          throw e;
        }
      },
    }),
  );
  app.querySelector("input")?.focus();
}

// begin shows what the tab was at. While the node cannot say who the user is, it is asked again.
async function begin() {
  restore();
  if (!session.authorization) return showLogin("");
  try {
    await enter();
  } catch (e) {
    if (e instanceof Refusal && !e.unavailable) return leave(e.loggedOut ? "" : e.message);
    fill(app, h("div", { class: "starting", role: "status" }, h("p", {}, e.message, " Trying again…")));
    setTimeout(begin, 2000);
  }
}

begin();
