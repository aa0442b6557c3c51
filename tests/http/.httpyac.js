// For httpyac, to which {{name}} is a parsed answer: it then has what the REST Client of VS Code calls {{name.response.body.$.path}} and
// {{name.request.body.$.path}}.

module.exports = {
  configureHooks(api) {
    api.hooks.onResponse.addHook("restClientNames", (response, context) => {
      const answer = response.parsedBody;
      if (answer instanceof Object) {
        const json = !Object.entries(context.request.headers ?? {}).some(([name, value]) => /^content-type$/i.test(name) && !/json/.test(value));
        const sent = json && context.request.body;
        Object.defineProperty(answer, "response", { value: { body: { $: answer } } });
        Object.defineProperty(answer, "request", { value: { body: { $: sent ? JSON.parse(sent) : {} } } });
      }
    });
  },
};
