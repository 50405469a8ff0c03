"""The advice of ``pytake.whatsapp.errors`` in Brazilian Portuguese; titles stay as Meta names them."""

from typing import Final

from pytake.whatsapp.errors import ErrorRule

_ADVICE: Final[dict[int, str]] = {
    1: "A Meta teve um problema interno; o PyTake tenta de novo.",
    2: "O serviço da Meta está fora do ar por um momento; o PyTake tenta de novo.",
    131000: "A Meta falhou sem dizer por quê; o PyTake procura um recibo e tenta de novo.",
    131016: "Um serviço da Meta está fora do ar por um momento; o PyTake tenta de novo.",
    133004: "O servidor da Meta está fora do ar por um momento; o PyTake tenta de novo.",
    4: "O app atingiu seu limite de chamadas; o PyTake desacelera o número. Distribua a carga no tempo.",
    80007: "A conta do WhatsApp Business atingiu seu limite; o PyTake desacelera o número.",
    130429: "A vazão do número foi excedida; o PyTake o desacelera. Se continuar, reduza WHATSAPP_MESSAGES_PER_SECOND.",
    17: "O usuário do token atingiu seu limite de chamadas; o PyTake desacelera o número. Use o token de um usuário de sistema próprio e distribua a carga no tempo.",
    613: "O limite de chamadas da Meta num intervalo foi atingido; o PyTake desacelera o número. Distribua a carga no tempo.",
    131057: "A Meta está ampliando a vazão do número; o PyTake espera até um minuto.",
    2494100: "A Meta está mexendo no número; o PyTake espera um minuto.",
    133015: "O número foi excluído há pouco; o PyTake espera cinco minutos.",
    134101: "O modelo ainda está sendo preparado na Meta; o PyTake espera dez minutos.",
    131056: "Muitas mensagens a este destinatário em pouco tempo; o PyTake espera e tenta de novo.",
    131048: "Muitas pessoas bloquearam ou denunciaram o número. Veja a qualidade no Gerenciador do WhatsApp e depois retome o número.",
    131049: "O destinatário já recebeu marketing bastante por ora, de todas as empresas juntas: espere ao menos 24 horas; tentativas antes disso podem bloqueá-lo por até mais 24 horas.",
    131064: "A Meta limita a conta porque há modelos na categoria errada: corrija a categoria no Gerenciador do WhatsApp. O limite cai sozinho.",
    132015: "O modelo está pausado por baixa qualidade (3 horas, depois 6, depois desativado): melhore-o, ou espere a Meta liberá-lo.",
    132069: "O fluxo atingiu seu limite por hora: espere e veja a saúde do fluxo.",
    33: "O identificador do número foi excluído ou está errado: confira WHATSAPP_PHONE_NUMBER_ID.",
    100: "A Meta não aceita um campo da mensagem: compare com a referência.",
    131008: "Falta um campo obrigatório: compare a mensagem com a referência.",
    131009: "Um campo tem valor que a Meta não aceita: corrija e reenvie.",
    131021: "O destinatário é o próprio número remetente: envie a outro número.",
    131026: "O destinatário não tem WhatsApp, usa um app antigo ou não aceitou os termos: use outro canal.",
    131030: "Um número de teste só escreve à sua lista permitida: adicione o destinatário no painel do app.",
    131047: "Passaram mais de 24 horas da última mensagem do destinatário: envie um modelo.",
    131050: "O destinatário não quer mais marketing seu: não lhe envie modelos de marketing.",
    131051: "A Meta não aceita este tipo de mensagem: use outro.",
    131052: "A Meta não conseguiu baixar a mídia do destinatário, ou ela passa de 100 MB: peça que envie de novo.",
    131053: "A Meta não conseguiu obter ou aceitar a mídia: confira endereço, tipo e tamanho.",
    131055: "Este tipo de mensagem não é permitido para o número: veja os ajustes no Gerenciador do WhatsApp.",
    131062: "Modelos de autenticação com botão de um toque, sem toque ou de copiar código não vão a um identificador de usuário da empresa (BSUID): use o telefone do destinatário.",
    131063: "Modelos de marketing estão desligados para esta conta na Cloud API: ligue-os no Gerenciador do WhatsApp, ou envie pela Marketing Messages API.",
    130403: "A sua empresa bloqueou este destinatário: desbloqueie-o no Gerenciador do WhatsApp ou pela API de bloqueio e reenvie.",
    130497: "A conta não pode escrever a usuários do país do destinatário: veja a política da Meta e não envie para lá.",
    130472: "O destinatário está num experimento da Meta e não recebe marketing: espere que ele escreva, ou use outro canal.",
    134100: "A Marketing Messages API só aceita modelos de marketing: envie este modelo pela Cloud API.",
    134102: "O modelo ou a conta não pode usar a Marketing Messages API: envie pela Cloud API, ou veja os requisitos no Gerenciador do WhatsApp.",
    132000: "O número de parâmetros difere do modelo: passe um para cada marcador.",
    132001: "Nenhum modelo aprovado tem este nome e idioma: confira ambos no Gerenciador do WhatsApp.",
    132005: "O texto fica longo demais com os parâmetros: encurte-os.",
    132007: "O texto do modelo fere uma política: veja o motivo no Gerenciador do WhatsApp e edite.",
    132008: "O texto de um parâmetro não é permitido (quebras de linha, tabulações, muitos espaços): limpe-o.",
    132012: "Um parâmetro tem formato diferente do modelo: compare-os.",
    132016: "O modelo foi pausado vezes demais e está desativado: crie outro.",
    132018: "A Meta não conseguiu preencher os parâmetros do modelo: compare-os com o modelo.",
    132068: "O fluxo está bloqueado: corrija-o no Gerenciador do WhatsApp.",
    135000: "A Meta descartou esta mensagem. Um portfólio novo é liberado em lotes e, com retorno ruim, o resto é descartado e o portfólio revisado: veja o Gerenciador do WhatsApp antes de enviar mais. Sem revisão, compare a mensagem com a referência.",
    137000: "A Meta não permite esta mensagem a este destinatário: use outra.",
    0: "O token de acesso não vale: gere outro, defina WHATSAPP_ACCESS_TOKEN e reinicie; o número volta sozinho.",
    190: "O token de acesso expirou: gere outro, defina WHATSAPP_ACCESS_TOKEN e reinicie; o número volta sozinho.",
    3: "Falta uma capacidade ao app: confira suas permissões no painel.",
    10: "Falta uma permissão ao token (whatsapp_business_messaging): conceda-a e retome o número.",
    131005: "Falta ao token uma permissão para este número: conceda-a e retome o número.",
    368: "A conta feriu uma política: veja no Gerenciador do WhatsApp o bloqueio e quando termina.",
    131031: "A conta está bloqueada ou restrita: veja o Gerenciador do WhatsApp e recorra por lá.",
    139000: "A Meta bloqueia a conta por motivos de integridade: veja o motivo no Gerenciador do WhatsApp e recorra por lá.",
    131042: "Há um problema com a forma de pagamento: corrija no Gerenciador do WhatsApp e retome o número.",
    131044: "A conta não tem forma de pagamento válida: inclua ou corrija uma no Gerenciador do WhatsApp e retome o número.",
    134011: "Os termos de pagamento não foram aceitos: aceite-os no Gerenciador do WhatsApp.",
    131037: "O número precisa de um nome de exibição aprovado: peça no Gerenciador do WhatsApp.",
    131045: "O registro do número tem um problema: registre-o de novo.",
    133000: "Um cancelamento de registro não terminou: cancele de novo e depois registre.",
    133005: "O PIN de duas etapas está errado: redefina-o e registre o número de novo.",
    133006: "O número não foi verificado: verifique-o e depois registre.",
    133008: "O PIN foi errado vezes demais: espere o tempo que a Meta diz e registre de novo.",
    133009: "O PIN foi tentado rápido demais: espere e registre de novo.",
    133010: "O número não está registrado na Cloud API: registre-o e retome.",
    133016: "Tentativas demais de registro: espere 72 horas e registre.",
}
_BY_TITLE: Final[dict[str, str]] = {
    "Number gone, or no access to it": "O identificador do número não existe, ou o token não tem acesso a ele: confira o identificador, o token e suas permissões e retome o número.",
    "API permission": "Falta uma permissão ao token: conceda-a e retome o número.",
    "Unknown server error": "A Meta teve um problema; o PyTake procura um recibo e tenta de novo.",
}
"""Advice by title, for rules that their code alone does not identify."""
_UNKNOWN: Final = "A Meta recusou a mensagem: procure o código na referência de erros."


def advice_in(rule: ErrorRule, language: str) -> str:
    """A rule's advice in a language; untranslated advice is replaced by a general text."""
    if language != "pt-BR":
        return rule.advice
    return _BY_TITLE.get(rule.title) or _ADVICE.get(rule.code, _UNKNOWN)
