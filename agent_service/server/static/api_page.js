// The API page. Wherever it is served from (a notebook server's proxy puts a path in front), the API is beside it.

const base = new URL(".", location.href).href.replace(/\/$/, "");

async function show() {
  const spec = await (await fetch(`${base}/openapi.json`)).json();
  spec.servers = [{ url: base }];
  SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
  });
}

show().catch((error) => {
  document.getElementById("swagger-ui").textContent = `The description of the API could not be read: ${error.message}. Load this page again.`;
});
